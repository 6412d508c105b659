import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AppError, type Clock, parseWorkerId, systemClock } from "@moiety/core";
import type { ActivationChoice, KernelLevel } from "@moiety/kernels";
import type { Logger } from "@moiety/runtime";
import type { ExpertPool } from "../experts/expert-pool.js";
import { KvCache } from "../kv-cache/kv-cache.js";
import { kvPools } from "../kv-cache/kv-capacity.js";
import { type OpenModel, openModel } from "../model.js";
import { openLocalExperts, openRemoteExperts } from "../open-experts.js";
import { type EvaluationCase, type EvaluationResult, evaluate } from "./evaluate.js";

/** Where the experts are: in this process, or on the expert workers that a router knows. */
export type EvaluationExperts =
  | { readonly kind: "co-located" }
  | {
      readonly kind: "router";
      /** host:port or unix:path of the router. */
      readonly routerAddress: string;
      /** Where expert workers pull their calls. Default 127.0.0.1 at any free port. */
      readonly listenAddress?: string;
      /** How long to wait for every expert to have a live worker. Default 120,000. */
      readonly readyTimeoutMs?: number;
    };

export interface EvaluationOptions {
  /** Directory of the checkpoint. */
  readonly directory: string;
  readonly experts: EvaluationExperts;
  readonly threads: number;
  readonly level?: KernelLevel;
  readonly activation: ActivationChoice;
  /** Tokens of a prompt per pass. Default: 512. */
  readonly chunkTokens?: number;
  /** Tokens to draw greedily after each prompt. Default 32. */
  readonly generate?: number;
  /** Longest prompt plus continuation. */
  readonly contextTokens: number;
  /** Tokens per KV page. Default 16. */
  readonly pageTokens?: number;
  readonly logger: Logger;
  readonly clock?: Clock;
}

/** A model that was opened for evaluation: an attention worker without a queue. */
export interface Evaluation {
  /** The kernels' level. */
  readonly level: KernelLevel;
  /** One case at a time: a second call waits for the first. */
  run(given: EvaluationCase): Promise<EvaluationResult>;
  close(): Promise<void>;
}

/** @throws AppError when the checkpoint cannot be served, or UNAVAILABLE when not every expert has a worker in time. */
export async function openEvaluation(options: EvaluationOptions): Promise<Evaluation> {
  const { directory, threads, level, activation, chunkTokens = 512, generate = 32, pageTokens = 16 } = options;
  const poolsFor = (slidingWindow: number) =>
    kvPools({ tokens: options.contextTokens, pageTokens, slidingWindow, maxSequences: 1, stepTokens: chunkTokens });
  const model = await openModel({
    directory,
    threads,
    ...(level === undefined ? {} : { level }),
    activation,
    kv: (checkpoint) => poolsFor(checkpoint.config.slidingWindow),
  });
  try {
    const { config } = model.checkpoint;
    const cache = new KvCache(poolsFor(config.slidingWindow));
    const experts = await openExperts(model, options);
    const forward = { attention: model.attention, experts: experts.pool, layers: config.layers };
    let previous: Promise<unknown> = Promise.resolve();
    const run = (given: EvaluationCase) => {
      const result = previous.then(() => evaluate({ model: forward, config, cache, chunkTokens, generate }, given));
      previous = result.catch(() => {});
      return result;
    };
    return {
      level: model.kernels.level,
      run,
      close: async () => {
        await experts.close();
        await model.close();
      },
    };
  } catch (error) {
    await model.close();
    throw error;
  }
}

/** Evaluates every case and writes `NAME.json` for each into a directory, which is made. Returns the files, in order. */
export async function evaluateCases(
  evaluation: Evaluation,
  cases: readonly EvaluationCase[],
  outDirectory: string,
): Promise<string[]> {
  await mkdir(outDirectory, { recursive: true });
  const files: string[] = [];
  for (const each of cases) {
    const file = join(outDirectory, `${each.name}.json`);
    await writeFile(file, JSON.stringify(await evaluation.run(each)));
    files.push(file);
  }
  return files;
}

/** The pool of experts, when every one of them can be reached. @throws AppError UNAVAILABLE when that takes too long. */
export async function openExperts(
  model: OpenModel,
  options: Pick<EvaluationOptions, "experts" | "logger" | "clock">,
): Promise<{ readonly pool: ExpertPool; close(): Promise<void> }> {
  const { experts, logger } = options;
  const workerId = parseWorkerId(`evaluation-${randomUUID()}`);
  const opened =
    experts.kind === "co-located"
      ? openLocalExperts(model)
      : await openRemoteExperts({
          model,
          workerId,
          routerAddress: experts.routerAddress,
          listenAddress: experts.listenAddress ?? "127.0.0.1:0",
          logger,
        });
  const { pool, control, loaded } = opened;
  const close = async () => {
    await control?.close();
    await pool.close();
  };
  try {
    await loaded;
    await waitUntilComplete(pool, options);
    return { pool, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function waitUntilComplete(
  pool: ExpertPool,
  { experts, clock = systemClock }: Pick<EvaluationOptions, "experts" | "clock">,
): Promise<void> {
  const timeoutMs = (experts.kind === "router" ? experts.readyTimeoutMs : undefined) ?? 120_000;
  const untilMs = clock.monotonicMs() + timeoutMs;
  while (pool.missing().length > 0) {
    if (clock.monotonicMs() > untilMs) {
      throw new AppError("UNAVAILABLE", `not every expert has a worker after ${timeoutMs} ms: ${pool.missing().join("; ")}`);
    }
    await clock.sleep(50);
  }
}
