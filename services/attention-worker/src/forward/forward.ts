import { AppError } from "@moiety/core";
import type { Sample } from "@moiety/kernels";
import type { PlannedRows } from "../scheduler/step-plan.js";
import { whenAllAborted } from "./abort.js";
import { type ForwardRows, placeDraws, toBatchSpec, traceOf } from "./forward-rows.js";
import { type ForwardModel, type LayerTimings, runLayers } from "./layers.js";
import { drawMasked } from "./masked-draws.js";
import { MicroBatchPolicy, type StageTimes } from "./micro-batch-policy.js";
import { type MicroBatchOptions, mostMicroBatches, splitMicroBatches } from "./micro-batches.js";

/** What became of planned rows. */
export type RowsOutcome =
  /** One result per draw; an Error where the logits were not finite, or nothing may be drawn. */
  | { readonly kind: "computed"; readonly rows: PlannedRows; readonly samples: readonly (Sample | Error)[] }
  /** The pass failed. Nothing was lost: the same rows may be run again, with the same result. */
  | { readonly kind: "failed"; readonly rows: PlannedRows; readonly error: AppError };

export interface ForwardOptions extends MicroBatchOptions {
  onLayer?(timings: LayerTimings): void;
}

/** Runs a step's rows: micro-batches take turns, so that one computes while the other's rows travel. */
export class Forward {
  readonly #model: ForwardModel;
  readonly #options: ForwardOptions;
  readonly #policy = new MicroBatchPolicy();

  constructor(model: ForwardModel, options: ForwardOptions) {
    this.#model = model;
    this.#options = options;
  }

  /** Never rejects: a pass that fails is the outcome of the rows in it, and of no others. */
  async run(step: readonly ForwardRows[]): Promise<RowsOutcome[]> {
    if (mostMicroBatches(step, this.#options) < 2) return this.#runLanes(step, 1);
    const rows = step.reduce((sum, each) => sum + each.rows.count, 0);
    const microBatches = this.#policy.decide(rows);
    const stages = { attendUs: 0, networkUs: 0, computeUs: 0 };
    const startedMs = performance.now();
    const outcomes = await this.#runLanes(step, microBatches, stages);
    const stepUs = (performance.now() - startedMs) * 1_000;
    const failed = outcomes.some(({ kind }) => kind === "failed");
    if (!failed) this.#policy.observe({ rows, microBatches, stepUs, stages });
    return outcomes;
  }

  async #runLanes(step: readonly ForwardRows[], lanes: 1 | 2, stages?: Writable<StageTimes>): Promise<RowsOutcome[]> {
    const batches = splitMicroBatches(step, { ...this.#options, lanes });
    const outcomes: RowsOutcome[] = [];
    const lane = async () => {
      for (let batch = batches.shift(); batch !== undefined; batch = batches.shift())
        outcomes.push(...(await this.#runBatch(batch, stages)));
    };
    await Promise.all(Array.from({ length: Math.min(this.#options.lanes, batches.length) }, lane));
    return outcomes;
  }

  async #runBatch(group: readonly ForwardRows[], stages?: Writable<StageTimes>): Promise<RowsOutcome[]> {
    const abandoned = whenAllAborted(group.map(({ signal }) => signal));
    try {
      const draws = placeDraws(group);
      const samples = await runLayers(this.#model, toBatchSpec(group.map(({ rows }) => rows)), {
        signal: abandoned.signal,
        trace: traceOf(group),
        last: (batch) => drawMasked(draws, (rows) => this.#model.attention.sample(batch, rows)),
        onLayer: (timings) => {
          if (stages !== undefined) addTo(stages, timings);
          this.#options.onLayer?.(timings);
        },
      });
      let first = 0;
      return group.map(({ rows, draws: own }) => {
        first += own.length;
        return { kind: "computed" as const, rows, samples: samples.slice(first - own.length, first) };
      });
    } catch (thrown) {
      const error = AppError.from(thrown);
      return group.map(({ rows }) => ({ kind: "failed" as const, rows, error }));
    } finally {
      abandoned.dispose();
    }
  }
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

function addTo(stages: Writable<StageTimes>, timings: LayerTimings): void {
  // From the result rows on: the combine before it is in there.
  stages.attendUs += timings.gateUs;
  stages.networkUs += timings.encodeUs + timings.networkUs;
  stages.computeUs += timings.queueUs + timings.computeUs;
}
