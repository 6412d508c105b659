import type { OutgoingResult } from "@moiety/proto";

/** Where a call came from: a link, until it closes. */
export interface CallOwner {
  /** Sends the one answer; does nothing once the link is closed. */
  answer(result: OutgoingResult): void;
}

/** A checked call that waits for its turn. */
export interface WaitingCall {
  readonly owner: CallOwner;
  readonly callId: number;
  readonly layer: number;
  /** `[rowCount, hidden]`, a view of the received message. */
  readonly rows: Uint8Array;
  /** Per pair: which row. */
  readonly pairRows: Uint16Array;
  /** Per pair: which expert. */
  readonly pairExperts: Uint16Array;
  /** Of the rows, both ways. */
  readonly bytes: number;
  readonly arrivedMs: number;
  /** Of the caller's span; empty: not traced. */
  readonly traceContext: Uint8Array;
}
