import type { ErrorCode, WorkerId } from "@moiety/core";
import type { HopTimings } from "./expert-pool.js";

/** One call that an expert worker answered with rows. */
export interface AnsweredCall {
  readonly workerId: WorkerId;
  readonly layer: number;
  readonly rows: number;
  readonly pairs: number;
  /** Repetitions that came before it. */
  readonly attempt: number;
  readonly timings: HopTimings;
}

/** Why a call is repeated. */
export type RepeatReason = ErrorCode | "LINK_LOST";

/** Hears what a pool does, for metrics and logs. Nothing here may throw or take long. */
export interface ExpertPoolObserver {
  answered(call: AnsweredCall): void;
  repeated(call: {
    readonly workerId: WorkerId;
    readonly layer: number;
    readonly reason: RepeatReason;
    readonly message: string;
  }): void;
  /** A deadline passed; the call goes on waiting when no other worker has its experts. */
  timedOut(call: {
    readonly workerId: WorkerId;
    readonly layer: number;
    readonly waitedMs: number;
    readonly abandoned: boolean;
  }): void;
  /** An answer came for a call that nobody waits for: late, duplicate or made up. */
  ignored(answer: { readonly workerId: WorkerId }): void;
  /** Pairs wait because no live worker has their experts. */
  parked(call: { readonly layer: number; readonly experts: readonly number[] }): void;
  linkChanged(link: {
    readonly workerId: WorkerId;
    readonly address: string;
    readonly state: string;
    readonly reason?: string;
  }): void;
  placementChanged(placement: { readonly epoch: number; readonly workers: number }): void;
}

export const silentObserver: ExpertPoolObserver = {
  answered: () => {},
  repeated: () => {},
  timedOut: () => {},
  ignored: () => {},
  parked: () => {},
  linkChanged: () => {},
  placementChanged: () => {},
};
