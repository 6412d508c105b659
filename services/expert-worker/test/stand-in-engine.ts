import type { AppError } from "@moiety/core";
import type { ExpertCall, ExpertEngine } from "@moiety/kernels";
import type { ExpertRefs } from "@moiety/model";

/** A pure function in place of the kernels: every byte of a row, shifted by layer and expert. */
export function standInRow(row: Uint8Array, layer: number, expert: number): Uint8Array {
  const result = new Uint8Array(row.length);
  const shift = layer * 7 + expert * 13 + 1;
  for (let index = 0; index < row.length; index += 1) result[index] = (row[index] ?? 0) + shift;
  return result;
}

/** Runs {@link standInRow}, when its gate lets it. */
export class StandInEngine implements ExpertEngine {
  readonly batches: ExpertCall[] = [];
  /** As the kernels say it of themselves. */
  runningMs = 0;
  gate: Promise<void> = Promise.resolve();
  /** Calls by which it refuses. */
  fault: ((call: ExpertCall) => AppError | undefined) | undefined;
  readonly #held = new Set<string>();
  readonly #rowBytes: number;

  constructor(rowBytes: number) {
    this.#rowBytes = rowBytes;
  }

  async load({ layer, expert }: ExpertRefs): Promise<void> {
    this.#held.add(`${layer}/${expert}`);
  }

  async unload(layer: number, expert: number): Promise<void> {
    this.#held.delete(`${layer}/${expert}`);
  }

  holds(layer: number, expert: number): boolean {
    return this.#held.has(`${layer}/${expert}`);
  }

  get residentBytes(): number {
    return this.#held.size * 100;
  }

  async run(call: ExpertCall): Promise<void> {
    this.batches.push(call);
    const fault = this.fault?.(call);
    if (fault !== undefined) throw fault;
    await this.gate;
    const { input, row, expert } = call.pairs;
    const places = call.outputs.flatMap((output) =>
      Array.from({ length: output.length / this.#rowBytes }, (_, index) =>
        output.subarray(index * this.#rowBytes, (index + 1) * this.#rowBytes),
      ),
    );
    places.forEach((place, pair) => {
      const start = (row[pair] ?? 0) * this.#rowBytes;
      const source = call.inputs[input[pair] ?? 0]?.subarray(start, start + this.#rowBytes) ?? new Uint8Array();
      place.set(standInRow(source, call.layer, expert[pair] ?? 0));
    });
  }
}
