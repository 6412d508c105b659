import { AppError, type RequestId } from "@moiety/core";
import type { Finish, LogEvent, RequestRecord } from "@moiety/queue";
import { ChoiceAssembler, type ChoiceDelta } from "./choice-assembler.js";
import type { OutputReader } from "./output-reader.js";

/** One completion that a client asked for: one request in the queue. */
export interface ChoicePlan {
  readonly index: number;
  readonly record: RequestRecord;
  readonly stops: readonly string[];
  /** Stop tokens that the client itself named. */
  readonly askedStopTokenIds: readonly number[];
  readonly createReader: () => OutputReader;
}

export interface ChoiceEnd {
  readonly finishReason: "stop" | "length";
  /** The client's stop string or stop token that ended it; absent for the model's own end. */
  readonly stopReason?: string | number;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
  /** How many functions it calls; the last call may be cut short unless it ended by itself. */
  readonly calls: number;
  readonly cachedTokens: number;
  /** Absent when a stop string ended it: the worker was told to let go. */
  readonly finish?: Finish;
  readonly repairs: Readonly<Record<string, number>>;
}

export type ChoiceEvent =
  | { readonly kind: "delta"; readonly index: number; readonly delta: ChoiceDelta }
  | { readonly kind: "end"; readonly index: number; readonly delta: ChoiceDelta; readonly end: ChoiceEnd };

/** A call of a function. */
export interface FunctionCall {
  readonly name: string;
  /** As the model wrote them: JSON, if it wrote JSON. */
  readonly arguments: string;
}

/** A choice that is all there. */
export interface WholeChoice extends Omit<ChoiceDelta, "calls"> {
  readonly index: number;
  readonly calls: readonly FunctionCall[];
  readonly end: ChoiceEnd;
}

export interface FollowChoiceOptions {
  /** From its first token on. Ends without a finish only when its reader is gone. */
  readonly log: AsyncIterable<LogEvent>;
  /** Cancels the request, in the background. */
  readonly cancel: (id: RequestId) => void;
}

/** The error that a request's end reports. */
function errorOf(finish: Finish): AppError {
  if (finish.reason === "cancelled") return new AppError("CANCELLED", "the request was cancelled");
  const code = finish.error?.code === "DEADLINE_EXCEEDED" ? "DEADLINE_EXCEEDED" : (finish.error?.code ?? "INTERNAL");
  const known = ["INVALID_ARGUMENT", "OUT_OF_RANGE", "DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"];
  return new AppError(
    known.includes(code) ? (code as AppError["code"]) : "INTERNAL",
    finish.error?.message ?? "generation failed",
  );
}

/** Follows one choice to its end. Returns without an end only when its log does. @throws AppError when generation failed. */
export async function* followChoice(plan: ChoicePlan, options: FollowChoiceOptions): AsyncGenerator<ChoiceEvent> {
  const { params, id } = plan.record;
  const reader = plan.createReader();
  const assembler = new ChoiceAssembler({ reader, stops: plan.stops, ...params });
  const isAsked = (reason: string | number) => typeof reason === "string" || plan.askedStopTokenIds.includes(reason);
  const concluded = (finish: Finish | undefined): ChoiceEvent => {
    const delta = assembler.end();
    const { stop, outputTokens, reasoningTokens, calls } = assembler;
    const reason = stop ? "stop" : finish?.reason === "stop" ? "stop" : "length";
    const end: ChoiceEnd = {
      finishReason: reason,
      ...(stop && isAsked(stop.reason) ? { stopReason: stop.reason } : {}),
      outputTokens,
      reasoningTokens,
      calls,
      cachedTokens: finish?.cachedTokens ?? 0,
      ...(finish ? { finish } : {}),
      repairs: reader.repairs as Readonly<Record<string, number>>,
    };
    return { kind: "end", index: plan.index, delta, end };
  };
  for await (const event of options.log) {
    if (event.kind === "finish") {
      if (event.finish.reason === "error" || event.finish.reason === "cancelled") throw errorOf(event.finish);
      yield concluded(event.finish);
      return;
    }
    const delta = assembler.push(event.tokens);
    yield { kind: "delta", index: plan.index, delta };
    if (typeof assembler.stop?.reason !== "string") continue;
    options.cancel(id);
    yield concluded(undefined);
    return;
  }
}
