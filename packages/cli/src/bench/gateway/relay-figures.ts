import { type Spread, spreadOf } from "../quantiles.js";
import type { SourceReport } from "./source-messages.js";
import type { ClientStream } from "./sse-client.js";

/** What became of a number of streams that ran at once. Times are in milliseconds. */
export interface RelayFigures {
  readonly streams: number;
  readonly tokensPerStream: number;
  /** Streams that failed, or ended without all of their tokens. */
  readonly errors: number;
  /** A few of their faults. */
  readonly faults: readonly string[];
  /** From the first append to the last token at a client. */
  readonly tokensPerSecond: number;
  /** Tokens of a chunk on average: more than one when the relay falls behind the source and catches up. */
  readonly tokensPerChunk: number;
  /** The source's: from the first append to the last. */
  readonly sourceTokensPerSecond: number;
  /** From the request to the first token, without what the source itself took of it. */
  readonly addedToFirstToken: Spread;
  /** From the request to its claim: admission, queue and the source's own part of it. */
  readonly requestToClaim: Spread;
  /** From a token's append to its coming to the client. */
  readonly appendToClient: Spread;
  /** Between a stream's tokens, at the source and at the client. */
  readonly sourceGap: Spread;
  readonly clientGap: Spread;
  /** The client's gap less the source's, token by token; below 0 when a stream catches up. */
  readonly addedToGap: Spread;
}

/** Puts both ends' times together. */
export function relayFigures(clients: readonly ClientStream[], report: SourceReport, tokensPerStream: number): RelayFigures {
  const sources = new Map(report.streams.map((stream) => [stream.stream, stream]));
  const failed: string[] = [...report.faults];
  const pairs = clients.flatMap((client) => {
    const source = sources.get(client.stream);
    const whole = client.receivedMs.length === tokensPerStream && source?.appendedMs.length === tokensPerStream;
    if (client.fault === undefined && whole) return [{ client, source }];
    failed.push(client.fault ?? `${client.receivedMs.length} of ${tokensPerStream} tokens`);
    return [];
  });
  const appended = pairs.flatMap(({ source }) => source.appendedMs);
  const received = pairs.flatMap(({ client }) => client.receivedMs);
  const firstMs = least(appended);
  const first = (times: readonly number[]) => times[0] ?? Number.NaN;
  return {
    streams: clients.length,
    tokensPerStream,
    errors: clients.length - pairs.length,
    faults: failed.slice(0, 5),
    tokensPerSecond: (received.length / (greatest(received) - firstMs)) * 1_000,
    tokensPerChunk: received.length / pairs.reduce((sum, { client }) => sum + client.chunks, 0),
    sourceTokensPerSecond: (appended.length / (greatest(appended) - firstMs)) * 1_000,
    addedToFirstToken: spreadOf(
      pairs.map(({ client, source }) => {
        const ofSource = first(source.appendedMs) - source.claimedMs;
        return first(client.receivedMs) - client.sentMs - ofSource;
      }),
    ),
    requestToClaim: spreadOf(pairs.map(({ client, source }) => source.claimedMs - client.sentMs)),
    appendToClient: spreadOf(pairs.flatMap(({ client, source }) => differences(client.receivedMs, source.appendedMs))),
    sourceGap: spreadOf(pairs.flatMap(({ source }) => gaps(source.appendedMs))),
    clientGap: spreadOf(pairs.flatMap(({ client }) => gaps(client.receivedMs))),
    addedToGap: spreadOf(pairs.flatMap(({ client, source }) => differences(gaps(client.receivedMs), gaps(source.appendedMs)))),
  };
}

function gaps(times: readonly number[]): number[] {
  return times.slice(1).map((time, index) => time - (times[index] ?? Number.NaN));
}

function differences(left: readonly number[], right: readonly number[]): number[] {
  return left.map((value, index) => value - (right[index] ?? Number.NaN));
}

const least = (values: readonly number[]) => values.reduce((best, value) => Math.min(best, value), Number.POSITIVE_INFINITY);
const greatest = (values: readonly number[]) => values.reduce((best, value) => Math.max(best, value), Number.NEGATIVE_INFINITY);
