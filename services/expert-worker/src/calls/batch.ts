import type { ExpertCall } from "@moiety/kernels";
import { ResultFrame } from "@moiety/proto";
import type { WaitingCall } from "./call.js";

/** Calls of one layer as one native call: weights are read once for all of them. */
export interface Batch {
  readonly calls: readonly WaitingCall[];
  /** One per call, whose rows the native call writes. */
  readonly frames: readonly ResultFrame[];
  readonly expertCall: ExpertCall;
}

/** Lays out a batch; every call is of the same layer. */
export function mergeCalls(calls: readonly WaitingCall[], rowBytes: number): Batch {
  const frames = calls.map((call) => new ResultFrame({ rowCount: call.pairExperts.length, rowBytes }));
  const pairCount = calls.reduce((sum, call) => sum + call.pairExperts.length, 0);
  const input = new Uint16Array(pairCount);
  const row = new Uint32Array(pairCount);
  const expert = new Uint16Array(pairCount);
  let start = 0;
  calls.forEach((call, index) => {
    input.fill(index, start, start + call.pairExperts.length);
    row.set(call.pairRows, start);
    expert.set(call.pairExperts, start);
    start += call.pairExperts.length;
  });
  const expertCall: ExpertCall = {
    layer: calls[0]?.layer ?? 0,
    inputs: calls.map((call) => call.rows),
    pairs: { input, row, expert },
    outputs: frames.map((frame) => frame.rows),
  };
  return { calls, frames, expertCall };
}
