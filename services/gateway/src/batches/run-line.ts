import { AppError } from "@moiety/core";
import type { LineResult } from "@moiety/queue";
import type { GatewayContext } from "../gateway-context.js";
import type { GenerationOptions } from "../generation/generation.js";
import type { PreparedLine } from "./batch-endpoints.js";
import type { InputLine } from "./input-line.js";
import { type LineBatch, lineId, prepareLine, requestIdOf } from "./line-request.js";
import { completedLine, failedLine } from "./line-result.js";

export interface LineSignals {
  /** Aborts when the line is no longer wanted: its requests are cancelled. */
  readonly stop: AbortSignal;
  /** Aborts when another process goes on with the batch: its requests are left running. */
  readonly leave: AbortSignal;
  /** Aborts in either case. */
  readonly over: AbortSignal;
}

/** What a line has while it runs. */
export interface LineTurn {
  readonly signals: LineSignals;
  /** Waits without holding up other lines. @throws when the line is over. */
  readonly stepAside: (ms: number) => Promise<void>;
}

/** Faults of the cluster's state, not of the request: they pass. Nobody else cancels a request but whoever was not sure to have submitted it. */
const PASSING: ReadonlySet<AppError["code"]> = new Set([
  "UNAVAILABLE",
  "RESOURCE_EXHAUSTED",
  "CANCELLED",
  "NOT_FOUND",
  "DEADLINE_EXCEEDED",
]);
const ATTEMPTS = 3;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 15_000;
/** For a tenant's limits, which may be changed meanwhile. */
const LONGEST_ASIDE_MS = 3_000;

/**
 * Runs a line until it has a result; undefined when it was stopped or left. A request that an earlier holder of the batch submitted is
 * followed from its first token instead of being submitted again.
 */
export async function runLine(
  context: GatewayContext,
  batch: LineBatch,
  line: InputLine,
  { signals, stepAside }: LineTurn,
): Promise<LineResult | undefined> {
  const { over } = signals;
  let attempt = 0;
  while (!over.aborted) {
    const requestId = requestIdOf(batch, line.line, attempt);
    const failed = (error: AppError) => failedLine(batch.id, line, { requestId, error });
    let prepared: PreparedLine;
    try {
      prepared = await prepareLine(context, batch, line, attempt);
    } catch (thrown) {
      const error = AppError.from(thrown);
      if (error.code !== "UNAVAILABLE") return failed(error);
      await pause(context, attempt, over);
      attempt += 1;
      continue;
    }
    try {
      return completedLine(batch.id, line, {
        requestId,
        body: await generate(context, prepared, { batch, line: line.line, signals }),
      });
    } catch (thrown) {
      const error = AppError.from(thrown);
      if (over.aborted) return undefined;
      if (isSpent(error) || (!PASSING.has(error.code) && (isRefusal(error) || attempt + 1 >= ATTEMPTS))) return failed(error);
      if (error.details["tenantLimit"] !== undefined) {
        await stepAside(waitOf(error)).catch(() => undefined);
        continue;
      }
      context.logger.warn({ err: error, batch: batch.id, line: line.line, attempt }, "a line of a batch is run again");
    }
    await pause(context, attempt, over);
    attempt += 1;
  }
  return undefined;
}

async function pause({ clock }: GatewayContext, attempt: number, over: AbortSignal): Promise<void> {
  await clock.sleep(Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(attempt, 16)), over).catch(() => undefined);
}

/** Until the tenant's limits may let it in. */
const waitOf = ({ details }: AppError): number => Math.min(LONGEST_ASIDE_MS, Number(details["retryAfterMs"] ?? FIRST_WAIT_MS));

/** The tenant's budget of the day or the month is spent, which may outlast the batch. */
const isSpent = ({ details }: AppError): boolean => details["openaiCode"] === "insufficient_quota";

/** Repeating it would change nothing; or it was given up after it had cost worker after worker. */
const isRefusal = ({ code }: AppError): boolean => code === "INVALID_ARGUMENT" || code === "OUT_OF_RANGE" || code === "ABORTED";

async function generate(
  context: GatewayContext,
  prepared: PreparedLine,
  { batch, line, signals }: { readonly batch: LineBatch; readonly line: number; readonly signals: LineSignals },
): Promise<object> {
  const { stop, leave } = signals;
  const { clock, logger, metrics, producer: queue } = context;
  const producer: GenerationOptions["producer"] = {
    submit: (record) => queue.resubmit(record),
    resubmit: (record) => queue.resubmit(record),
    follow: (id, fromIndex, signal) => queue.follow(id, fromIndex, signal),
    cancel: (id) => queue.cancel(id),
  };
  const { plans } = prepared;
  const kind = `batch ${batch.path}`;
  const facts = { ...prepared, kind, requestId: lineId(batch.id, line) };
  const admit = () =>
    context.accounts.admit(facts).catch((error: unknown) => {
      context.trail.denied(facts, AppError.from(error));
      throw error;
    });
  return prepared.run({ admit, producer, clock, logger, metrics, plans, signal: stop, leave, timed: false });
}
