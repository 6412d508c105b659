import { AppError, type Clock } from "@moiety/core";
import type { LogEvent, RequestProducer, RequestRecord } from "@moiety/queue";

/** A Redis that forgets a request so often has something worse. */
const MAX_RESUBMISSIONS = 3;

export interface FollowRequestOptions {
  readonly producer: Pick<RequestProducer, "follow" | "resubmit">;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * The whole log of a request that was submitted. A Redis that lost its tail may have forgotten the request: it is then submitted again, and
 * its log read on from where the reader is, for the same record always gives the same tokens. @throws AppError NOT_FOUND past the deadline.
 */
export async function* followRequest(record: RequestRecord, options: FollowRequestOptions): AsyncGenerator<LogEvent> {
  const { producer, clock, signal } = options;
  let next = 0;
  for (let resubmissions = 0; ; resubmissions++) {
    try {
      for await (const event of producer.follow(record.id, next, signal)) {
        if (event.kind === "tokens") next = event.start + event.tokens.length;
        yield event;
      }
      return;
    } catch (error) {
      const isForgotten = AppError.from(error).code === "NOT_FOUND" && clock.nowMs() < record.deadlineAtMs;
      if (!isForgotten || resubmissions >= MAX_RESUBMISSIONS) throw error;
      await producer.resubmit(record);
    }
  }
}
