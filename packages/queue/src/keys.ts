import { AppError, parseRequestId, type RequestId } from "@moiety/core";

/** The name of the BullMQ queue. */
export const QUEUE_NAME = "requests";

/** Every key and channel of one cluster. All share a hash tag, so that scripts may touch several of them in Redis Cluster. */
export interface QueueKeys {
  /** BullMQ's prefix, too. */
  readonly prefix: string;
  readonly admitting: string;
  readonly beats: string;
  record(id: RequestId): string;
  log(id: RequestId): string;
  /** Clocks of the tenants whose requests have a priority. */
  turns(priority: number): string;
  /** Channel on which a log's news is published for those who follow another gateway's request. */
  news(id: RequestId): string;
  /** Channel on which a gateway hears of all the requests that it submitted. */
  feed(producerId: string): string;
  /** What the names of records, logs, channels and feeds begin with; the id follows; of turns the priority. */
  readonly prefixes: {
    readonly record: string;
    readonly log: string;
    readonly news: string;
    readonly feed: string;
    readonly turns: string;
  };
  /** Channel on which a consumer hears of cancelled requests. */
  holder(consumerId: string): string;
  beat(workerId: string): string;
  /** A key of BullMQ's own: a list such as `wait`, or a job. */
  bull(type: string): string;
}

const PREFIX = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** @throws AppError INVALID_ARGUMENT for a prefix that would break the hash tag. */
export function queueKeys(prefix: string): QueueKeys {
  if (!PREFIX.test(prefix)) {
    throw new AppError("INVALID_ARGUMENT", "the queue's prefix must be 1 to 64 characters of A-Z a-z 0-9 . _ -");
  }
  const tag = `{${prefix}}`;
  const prefixes = {
    record: `${tag}:record:`,
    log: `${tag}:log:`,
    news: `${tag}:news:`,
    feed: `${tag}:feed:`,
    turns: `${tag}:turns:`,
  };
  return {
    prefix: tag,
    admitting: `${tag}:admitting`,
    beats: `${tag}:beats`,
    prefixes,
    record: (id) => prefixes.record + id,
    log: (id) => prefixes.log + id,
    turns: (priority) => prefixes.turns + priority,
    news: (id) => prefixes.news + id,
    feed: (producerId) => prefixes.feed + producerId,
    holder: (consumerId) => `${tag}:holder:${consumerId}`,
    beat: (workerId) => `${tag}:beat:${workerId}`,
    bull: (type) => `${tag}:${QUEUE_NAME}:${type}`,
  };
}

/** BullMQ refuses job ids that are integers or contain a colon; request ids may be either, but never contain a slash. */
export const jobIdOf = (id: RequestId): string => `r/${id.replaceAll(":", "/")}`;

export const requestIdOf = (jobId: string): RequestId => parseRequestId(jobId.slice(2).replaceAll("/", ":"));
