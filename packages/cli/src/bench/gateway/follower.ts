import { AppError, newRequestId, parseTenantId } from "@moiety/core";
import type { RequestProducer, RequestRecord } from "@moiety/queue";
import type { ClientStream } from "./sse-client.js";
import { nowMs, promptOfStream } from "./stream-prompt.js";

/** Submits a request and follows its token log, without a gateway. Never rejects. */
export async function followStream(
  producer: RequestProducer,
  { stream, maxTokens, signal }: { readonly stream: number; readonly maxTokens: number; readonly signal: AbortSignal },
): Promise<ClientStream> {
  const sentMs = nowMs();
  const receivedMs: number[] = [];
  let chunks = 0;
  try {
    const record = recordOf(stream, maxTokens);
    await producer.submit(record);
    for await (const event of producer.follow(record.id, 0, signal)) {
      if (event.kind !== "tokens") continue;
      receivedMs.push(...event.tokens.map(nowMs));
      chunks += 1;
    }
    return { stream, sentMs, receivedMs, chunks, ...(signal.aborted ? { fault: "timed out" } : {}) };
  } catch (error) {
    return { stream, sentMs, receivedMs, chunks, fault: AppError.from(error).message };
  }
}

function recordOf(stream: number, maxTokens: number): RequestRecord {
  const createdAtMs = Date.now();
  return {
    id: newRequestId("bench"),
    tenant: parseTenantId("bench"),
    cacheSalt: "bench",
    priority: 0,
    createdAtMs,
    deadlineAtMs: createdAtMs + 600_000,
    promptTokens: Int32Array.from(promptOfStream(stream)),
    params: {
      temperature: 0,
      topK: 0,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      seed: "0",
      maxTokens,
      minTokens: 0,
      stopTokenIds: [],
      logitBias: [],
    },
  };
}
