import { AppError, invariant } from "@moiety/core";
import type { AttentionEngine, Batch, BatchSpec, ExpertRowsPart, Sample, SampleRow } from "@moiety/kernels";
import type { ExpertPool, LayerCall, LayerResult } from "../src/experts/expert-pool.js";

/** Layers alternate: even ones slide, odd ones see everything. */
export interface StandInShape {
  readonly layers: number;
  readonly vocabSize: number;
  readonly slidingWindow: number;
  readonly pageTokens: number;
  readonly fullPages: number;
  readonly slidingPages: number;
}

const CHOICES = 2;

/** FNV-1a over 32-bit words. */
function mix(...words: readonly number[]): number {
  let hash = 0x811c9dc5;
  for (const word of words) hash = Math.imul(hash ^ word, 0x01000193) ^ (hash >>> 13);
  return hash >>> 0;
}

interface StandInBatch extends Batch {
  readonly spec: BatchSpec;
  readonly state: Uint32Array;
  released: boolean;
}

/**
 * A model whose hidden state is one 32-bit hash per row: of the token, and of everything that the row may see, read from pages like
 * the real one's. Any mistake in pages, windows, positions or order changes every token after it.
 */
export class StandInAttention implements AttentionEngine {
  readonly weightsBytes = 0;
  readonly kvBytes = 0;
  readonly #shape: StandInShape;
  readonly #memory: readonly Uint32Array[];
  #tail: Promise<unknown> = Promise.resolve();
  /** Draws of this token come out as errors, as if its logits were not finite. */
  poison: number | undefined;
  /** Rejects a batch that holds this token. */
  breaker: number | undefined;
  openBatches = 0;

  constructor(shape: StandInShape) {
    this.#shape = shape;
    const pages = (layer: number) => (layer % 2 === 0 ? shape.slidingPages : shape.fullPages);
    this.#memory = Array.from({ length: shape.layers }, (_, layer) => new Uint32Array(pages(layer) * shape.pageTokens));
  }

  createBatch(spec: BatchSpec): Batch {
    if (this.breaker !== undefined && spec.tokens.includes(this.breaker)) throw new AppError("INTERNAL", "a broken batch");
    const rows = spec.tokens.length;
    const state = new Uint32Array(rows);
    this.openBatches += 1;
    const copied = spec.sequences.map((each) => ({
      ...each,
      fullPages: each.fullPages.slice(),
      slidingPages: each.slidingPages.slice(),
    }));
    const batch: StandInBatch = {
      rows,
      spec: { tokens: spec.tokens.slice(), sequences: copied },
      state,
      normed: new Uint8Array(rows * 4),
      expertIds: new Uint16Array(rows * CHOICES),
      expertWeights: new Float32Array(rows * CHOICES),
      residual: new Float32Array(rows),
      released: false,
      release: () => {
        invariant(!batch.released, "a batch is released once");
        batch.released = true;
        this.openBatches -= 1;
      },
    };
    return batch;
  }

  attend(batch: Batch, layer: number): Promise<void> {
    return this.#enqueue(batch, (own) => {
      if (layer === 0)
        own.spec.tokens.forEach((token, row) => {
          own.state[row] = mix(token);
        });
      for (const sequence of own.spec.sequences) this.#attendSequence(own, layer, sequence);
      own.state.forEach((state, row) => {
        new DataView(own.normed.buffer).setUint32(row * 4, state, true);
        for (let choice = 0; choice < CHOICES; choice++) own.expertIds[row * CHOICES + choice] = mix(state, choice) % 8;
      });
    });
  }

  combine(batch: Batch, parts: readonly ExpertRowsPart[]): Promise<void> {
    return this.#enqueue(batch, (own) => {
      const results = new Uint32Array(own.rows * CHOICES);
      for (const { rows, slots } of parts) {
        slots.forEach((slot, index) => {
          results[slot] = new DataView(rows.buffer, rows.byteOffset).getUint32(index * 4, true);
        });
      }
      own.state.forEach((state, row) => {
        own.state[row] = mix(state, ...results.subarray(row * CHOICES, (row + 1) * CHOICES));
      });
    });
  }

  logits(): Promise<Float32Array> {
    throw new AppError("UNIMPLEMENTED", "the stand-in has no logits");
  }

  async sample(batch: Batch, rows: readonly SampleRow[]): Promise<readonly (Sample | Error)[]> {
    let samples: (Sample | Error)[] = [];
    await this.#enqueue(batch, (own) => {
      samples = rows.map((row) => this.#draw(own.state[row.row] ?? 0, row));
    });
    return samples;
  }

  close(): void {}

  #draw(state: number, row: SampleRow): Sample | Error {
    const seed = row.params.temperature === 0 ? 0 : Number(row.params.seed & 0xffffffffn);
    let token = mix(state, seed, row.params.temperature === 0 ? 0 : row.counter) % this.#shape.vocabSize;
    const { allowed } = row;
    if (allowed !== undefined) {
      while ((((allowed[token >>> 5] ?? 0) >>> (token & 31)) & 1) === 0) token = (token + 1) % this.#shape.vocabSize;
    }
    if (token === this.poison) return new Error("logits are not finite");
    return row.topLogprobs === undefined ? { token } : { token, logprob: -((mix(state, token) % 1000) / 100), top: [] };
  }

  #attendSequence(batch: StandInBatch, layer: number, sequence: BatchSpec["sequences"][number]): void {
    const { pageTokens, slidingWindow } = this.#shape;
    const sliding = layer % 2 === 0;
    const memory = this.#memory[layer];
    invariant(memory !== undefined, "the layer exists");
    const place = (position: number) => {
      const block = Math.floor(position / pageTokens) - (sliding ? sequence.slidingFirstBlock : 0);
      const page = (sliding ? sequence.slidingPages : sequence.fullPages)[block];
      invariant(page !== undefined, `position ${position} has a page`);
      return page * pageTokens + (position % pageTokens);
    };
    const states = batch.state.subarray(sequence.rowStart, sequence.rowStart + sequence.rowCount);
    states.forEach((state, index) => {
      memory[place(sequence.positionStart + index)] = state;
    });
    states.forEach((state, index) => {
      const position = sequence.positionStart + index;
      const first = sliding ? Math.max(0, position - slidingWindow + 1) : 0;
      let seen = position;
      for (let at = first; at <= position; at++) seen = mix(seen, memory[place(at)] ?? 0);
      batch.state[sequence.rowStart + index] = mix(state, seen, layer);
    });
  }

  /** One operation at a time, in the order of the calls, off the caller's back. */
  #enqueue(batch: Batch, work: (batch: StandInBatch) => void): Promise<void> {
    const own = batch as StandInBatch;
    const done = this.#tail
      .then(() => new Promise((resolve) => setImmediate(resolve)))
      .then(() => {
        invariant(!own.released, "no operation runs on a released batch");
        work(own);
      });
    this.#tail = done.catch(() => {});
    return done;
  }
}

/** Experts of the stand-in, which may be slow and may fail. */
export class StandInExperts implements ExpertPool {
  calls = 0;
  /** Decides, by the number of the call, whether it fails. */
  fails: (call: number) => boolean = () => false;
  /** Calls wait for this while it is set. */
  gate: Promise<void> | undefined;

  async run(call: LayerCall, signal: AbortSignal): Promise<LayerResult> {
    this.calls += 1;
    const number = this.calls;
    const input = call.normed.slice();
    const ids = call.expertIds.slice();
    await new Promise((resolve) => setImmediate(resolve));
    if (this.gate !== undefined) await Promise.race([this.gate, aborted(signal)]);
    if (signal.aborted) throw new AppError("CANCELLED", "the call was abandoned");
    if (this.fails(number)) throw new AppError("INTERNAL", "the call failed");
    const rows = new Uint8Array(ids.length * 4);
    const view = new DataView(rows.buffer);
    ids.forEach((expert, slot) => {
      view.setUint32(
        slot * 4,
        mix(new DataView(input.buffer).getUint32(Math.floor(slot / CHOICES) * 4, true), expert, call.layer),
        true,
      );
    });
    const timings = { encodeUs: 0, networkUs: 0, queueUs: 0, computeUs: 0 };
    return { parts: [{ rows, slots: Uint32Array.from(ids, (_, slot) => slot) }], timings, fanOut: 1 };
  }

  missing(): readonly string[] {
    return [];
  }

  async close(): Promise<void> {}
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
