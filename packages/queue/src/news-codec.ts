import type { RequestId } from "@moiety/core";

/**
 * What a channel carries: some log's newest entries, or its end. One message holds one piece of news after the other, as the scripts in
 * `log-scripts.ts` pack them, little-endian: `u8 length of the id, id, u8 kind (0 tokens, 1 finish), u32 start, u32 length, body`.
 */
export interface News {
  readonly kind: "tokens" | "finish";
  /** Index of the first token; of a finish, the length of the log. */
  readonly start: number;
  /** Holds, from `from` to before `to`, entries as a log has them, one after the other; of a finish, its JSON. */
  readonly message: Buffer;
  readonly from: number;
  readonly to: number;
}

const HEAD_BYTES = 9;

/** Reads a message. Whatever follows a piece that is cut short is left out: a log's readers find what they missed by reading it. */
export function readNews(message: Buffer, take: (id: RequestId, news: News) => void): void {
  for (let at = 0; at < message.length; ) {
    const head = at + 1 + (message[at] ?? 0);
    const body = head + HEAD_BYTES;
    if (body > message.length) return;
    const end = body + message.readUInt32LE(head + 5);
    if (end > message.length) return;
    const kind = message[head] === 0 ? "tokens" : "finish";
    const id = message.toString("latin1", at + 1, head) as RequestId;
    take(id, { kind, start: message.readUInt32LE(head + 1), message, from: body, to: end });
    at = end;
  }
}
