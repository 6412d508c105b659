import type { Batch } from "@moiety/kernels";
import type { LayerObserver } from "../forward/layers.js";

export interface LayerRecordShape {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly expertsPerToken: number;
}

/** What the layers did with a prompt: every token's experts, and the last token's residual stream. */
export class LayerRecord implements LayerObserver {
  /** `[layers][tokens][expertsPerToken]`, best first. */
  readonly expertIds: number[][][];
  /** `[layers][hidden]` after attention, and after the block, of the newest token. */
  readonly afterAttention: number[][];
  readonly afterBlock: number[][];
  readonly #shape: LayerRecordShape;

  constructor(shape: LayerRecordShape) {
    this.#shape = shape;
    this.expertIds = Array.from({ length: shape.layers }, () => []);
    this.afterAttention = Array.from({ length: shape.layers }, () => []);
    this.afterBlock = Array.from({ length: shape.layers }, () => []);
  }

  attended(batch: Batch, layer: number): void {
    const { expertsPerToken } = this.#shape;
    for (let row = 0; row < batch.rows; row++) {
      this.expertIds[layer]?.push([...batch.expertIds.subarray(row * expertsPerToken, (row + 1) * expertsPerToken)]);
    }
    this.afterAttention[layer] = this.#lastRow(batch);
  }

  combined(batch: Batch, layer: number): void {
    this.afterBlock[layer] = this.#lastRow(batch);
  }

  #lastRow(batch: Batch): number[] {
    return [...batch.residual.subarray((batch.rows - 1) * this.#shape.hiddenSize, batch.rows * this.#shape.hiddenSize)];
  }
}
