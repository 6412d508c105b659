import type { AttentionEngine, Batch } from "@moiety/kernels";
import type { ExpertPool, LayerCall, LayerResult } from "../experts/expert-pool.js";

/** Where a step's time went, in microseconds, summed over its layers and micro-batches. */
export interface StepParts {
  /** Attention, residual, norm and gating; with two micro-batches, waiting for the other one's turn too. */
  readonly attendUs: number;
  /** Planning and copying rows. */
  readonly encodeUs: number;
  /** The slowest worker's: messages both ways, and both ends' event loops. */
  readonly networkUs: number;
  /** Waiting in the slowest worker. */
  readonly queueUs: number;
  readonly computeUs: number;
  readonly combineUs: number;
  /** Final norm, unembedding and drawing. */
  readonly sampleUs: number;
  /** What is left of the step: this process's JavaScript, and waiting that nothing above counts. */
  readonly idleUs: number;
}

export interface StepMeasurement {
  readonly rows: number;
  readonly ms: number;
  readonly microBatches: number;
  /** Experts whose weights were wanted: distinct ones of every layer and micro-batch, summed. */
  readonly expertsRead: number;
  /** (row, expert) pairs. */
  readonly pairs: number;
  /** Workers called, on average over all hops. */
  readonly fanOut: number;
  /** They add up to `microBatches * ms`. */
  readonly parts: StepParts;
}

type Part = Exclude<keyof StepParts, "idleUs">;

const PARTS: readonly Part[] = ["attendUs", "encodeUs", "networkUs", "queueUs", "computeUs", "combineUs", "sampleUs"];

/** Listens to what a forward pass asks of its kernels and its experts, and adds up one step at a time. */
export class StepProbe {
  readonly attention: AttentionEngine;
  readonly experts: ExpertPool;
  readonly #totals = new Map<Part, number>();
  /** When a batch's newest `combine` ended: what was queued behind it did not begin before. */
  readonly #combinedMs = new WeakMap<Batch, number>();
  readonly #wanted: Uint8Array;
  #microBatches = 0;
  #expertsRead = 0;
  #pairs = 0;
  #hops = 0;
  #workersCalled = 0;

  constructor(attention: AttentionEngine, pool: ExpertPool, experts: number) {
    this.#wanted = new Uint8Array(experts);
    this.attention = this.#listenTo(attention);
    this.experts = {
      run: (call, signal) => this.#hop(pool, call, signal),
      missing: () => pool.missing(),
      close: () => pool.close(),
    };
  }

  /** Runs a step of so many rows. One at a time. */
  async measure(rows: number, step: () => Promise<void>): Promise<StepMeasurement> {
    this.#totals.clear();
    this.#microBatches = this.#expertsRead = this.#pairs = this.#hops = this.#workersCalled = 0;
    const startedMs = performance.now();
    await step();
    const ms = performance.now() - startedMs;
    const known = PARTS.map((part) => [part, this.#totals.get(part) ?? 0] as const);
    const knownUs = known.reduce((sum, [, us]) => sum + us, 0);
    const idleUs = Math.max(0, this.#microBatches * ms * 1_000 - knownUs);
    return {
      rows,
      ms,
      microBatches: this.#microBatches,
      expertsRead: this.#expertsRead,
      pairs: this.#pairs,
      fanOut: this.#workersCalled / Math.max(1, this.#hops),
      parts: { ...(Object.fromEntries(known) as Record<Part, number>), idleUs },
    };
  }

  #add(part: Part, us: number): void {
    this.#totals.set(part, (this.#totals.get(part) ?? 0) + us);
  }

  #listenTo(attention: AttentionEngine): AttentionEngine {
    return {
      weightsBytes: attention.weightsBytes,
      kvBytes: attention.kvBytes,
      createBatch: (spec) => {
        this.#microBatches += 1;
        return attention.createBatch(spec);
      },
      attend: (batch, layer) => this.#timed("attendUs", batch, () => attention.attend(batch, layer)),
      combine: async (batch, parts) => {
        const startedMs = performance.now();
        await attention.combine(batch, parts);
        const nowMs = performance.now();
        this.#combinedMs.set(batch, nowMs);
        this.#add("combineUs", (nowMs - startedMs) * 1_000);
      },
      logits: (batch, rows) => this.#timed("sampleUs", batch, () => attention.logits(batch, rows)),
      sample: (batch, rows) => this.#timed("sampleUs", batch, () => attention.sample(batch, rows)),
      close: () => attention.close(),
    };
  }

  /** Counts an operation from when the batch was free for it. */
  async #timed<T>(part: Part, batch: Batch, operation: () => Promise<T>): Promise<T> {
    const calledMs = performance.now();
    const result = await operation();
    const begunMs = Math.max(calledMs, this.#combinedMs.get(batch) ?? 0);
    this.#add(part, (performance.now() - begunMs) * 1_000);
    return result;
  }

  async #hop(pool: ExpertPool, call: LayerCall, signal: AbortSignal): Promise<LayerResult> {
    this.#wanted.fill(0);
    for (const expert of call.expertIds) this.#wanted[expert] = 1;
    this.#expertsRead += this.#wanted.reduce((sum, one) => sum + one, 0);
    this.#pairs += call.expertIds.length;
    const result = await pool.run(call, signal);
    const { encodeUs, networkUs, queueUs, computeUs } = result.timings;
    this.#add("encodeUs", encodeUs);
    this.#add("networkUs", networkUs);
    this.#add("queueUs", queueUs);
    this.#add("computeUs", computeUs);
    this.#hops += 1;
    this.#workersCalled += result.fanOut;
    return result;
  }
}
