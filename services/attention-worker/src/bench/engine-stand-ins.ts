import { setTimeout as sleep } from "node:timers/promises";
import type { AttentionEngine, Batch, BatchSpec, Sample, SampleRow } from "@moiety/kernels";
import type { ExpertPool, LayerResult } from "../experts/expert-pool.js";
import { Forward } from "../forward/forward.js";
import type { ForwardRows } from "../forward/forward-rows.js";

const NOTHING: Promise<void> = Promise.resolve();
const VOCABULARY = 256;

/** Where one step's JavaScript was, in milliseconds since some beginning. */
export interface StepTimes {
  /** Draws, which is every decoding sequence. */
  readonly draws: number;
  /** The step's plan went into the forward pass. */
  readonly enteredMs: number;
  /** Every layer's JavaScript was done, and the draws were asked for. */
  readonly askedMs: number;
  /** The draws were there, and what waited while they were not had its turn. */
  readonly drawnMs: number;
  /** The pass had handed over its outcomes. */
  readonly leftMs: number;
  /** What the event loop had worked until `drawnMs`, all in all. */
  readonly activeMs: number;
}

interface Mutable {
  draws: number;
  enteredMs: number;
  askedMs: number;
  drawnMs: number;
  leftMs: number;
  activeMs: number;
}

/** Kernels that compute nothing: every operation is done at once, but for the draws, which leave the event loop alone for a while. */
export class StandInKernels implements AttentionEngine {
  readonly weightsBytes = 0;
  readonly kvBytes = 0;
  readonly steps: StepTimes[] = [];
  readonly #computeMs: number;
  #step: Mutable = { draws: 0, enteredMs: 0, askedMs: 0, drawnMs: 0, leftMs: 0, activeMs: 0 };

  constructor(computeMs: number) {
    this.#computeMs = computeMs;
  }

  begin(): void {
    this.#step = { draws: 0, enteredMs: performance.now(), askedMs: 0, drawnMs: 0, leftMs: 0, activeMs: 0 };
  }

  end(): void {
    this.#step.leftMs = performance.now();
    this.steps.push(this.#step);
  }

  createBatch(spec: BatchSpec): Batch {
    const rows = spec.tokens.length;
    return {
      rows,
      normed: new Uint8Array(0),
      expertIds: new Uint16Array(0),
      expertWeights: new Float32Array(0),
      residual: new Float32Array(0),
      release: () => undefined,
    };
  }

  attend(): Promise<void> {
    return NOTHING;
  }

  combine(): Promise<void> {
    return NOTHING;
  }

  async logits(): Promise<Float32Array> {
    return new Float32Array(0);
  }

  async sample(_batch: Batch, rows: readonly SampleRow[]): Promise<readonly Sample[]> {
    this.#step.draws = rows.length;
    this.#step.askedMs = performance.now();
    await sleep(this.#computeMs);
    this.#step.drawnMs = performance.now();
    this.#step.activeMs = performance.eventLoopUtilization().active;
    return rows.map(({ counter, row }) => ({ token: (counter * 31 + row) % VOCABULARY }));
  }

  close(): void {}
}

const DONE: Promise<LayerResult> = Promise.resolve({
  parts: [],
  timings: { encodeUs: 0, networkUs: 0, queueUs: 0, computeUs: 0 },
  fanOut: 1,
});

const STAND_IN_EXPERTS: ExpertPool = { run: () => DONE, missing: () => [], close: async () => undefined };

/** A forward pass that says when it begins and ends. */
export class TimedForward extends Forward {
  readonly #kernels: StandInKernels;

  constructor(kernels: StandInKernels, layers: number, onLayer: (timings: Parameters<LayerListener>[0]) => void) {
    super({ attention: kernels, experts: STAND_IN_EXPERTS, layers }, { lanes: 1, minRows: 16, onLayer });
    this.#kernels = kernels;
  }

  override async run(step: readonly ForwardRows[]) {
    this.#kernels.begin();
    const outcomes = await super.run(step);
    this.#kernels.end();
    return outcomes;
  }
}

type LayerListener = NonNullable<ConstructorParameters<typeof Forward>[1]["onLayer"]>;
export const STAND_IN_VOCABULARY = VOCABULARY;
