import { parseRequestId, parseTenantId } from "@moiety/core";
import { Redis } from "ioredis";
import type { Finish, GenerationParams, LogEvent, LoggedToken, RequestProducer, RequestRecord } from "../src/index.js";

export const params: GenerationParams = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: "7",
  maxTokens: 64,
  minTokens: 0,
  stopTokenIds: [],
  logitBias: [],
};

export function request(id: string, changes: Partial<RequestRecord> = {}): RequestRecord {
  return {
    id: parseRequestId(id),
    tenant: parseTenantId("tenant"),
    cacheSalt: "",
    priority: 0,
    createdAtMs: Date.now(),
    deadlineAtMs: Date.now() + 60_000,
    promptTokens: Int32Array.from([1, 2, 3]),
    params,
    ...changes,
  };
}

export const tokens = (start: number, count: number): LoggedToken[] =>
  Array.from({ length: count }, (_, index) => ({ token: 1000 + start + index }));

export const finish = (outputTokens: number): Finish => ({
  reason: "stop",
  promptTokens: 3,
  cachedTokens: 0,
  outputTokens,
  queueMs: 1,
  prefillMs: 2,
  decodeMs: 3,
});

export interface Followed {
  readonly tokens: number[];
  finish: Finish | undefined;
}

/** Follows in the background and checks that every index comes exactly once and in order. */
export function collect(
  producer: RequestProducer,
  record: RequestRecord,
  fromIndex = 0,
): { seen: Followed; done: Promise<Followed> } {
  const seen: Followed = { tokens: [], finish: undefined };
  const run = async () => {
    let next = fromIndex;
    for await (const event of producer.follow(record.id, fromIndex, new AbortController().signal)) take(event);
    return seen;
    function take(event: LogEvent): void {
      if (seen.finish) throw new Error("an event after the finish");
      if (event.kind === "finish") {
        seen.finish = event.finish;
        return;
      }
      if (event.start !== next) throw new Error(`index ${event.start} came when ${next} was due`);
      next += event.tokens.length;
      seen.tokens.push(...event.tokens.map((entry) => entry.token));
    }
  };
  return { seen, done: run() };
}

/** A client that does as it is told, for looking at and meddling with keys. */
export function rawClient(url: string): Redis {
  const redis = new Redis(url, { maxRetriesPerRequest: null });
  redis.on("error", () => undefined);
  return redis;
}
