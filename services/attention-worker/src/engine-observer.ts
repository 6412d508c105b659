import type { Finish, Resumption } from "@moiety/queue";
import type { LayerTimings } from "./forward/layers.js";

/** What the engine reports while it works. Called on the hot path: implementations only count. */
export interface EngineObserver {
  onStep(step: { readonly tokens: number; readonly decodeTokens: number; readonly preempted: number }): void;
  /** Tokens looked up in the prefix cache, and found there. */
  onPrefixLookup(queriedTokens: number, hitTokens: number): void;
  onLayer(timings: LayerTimings): void;
  onPassFailed(): void;
  /** A request goes on from its token log. */
  onResume(reason: Resumption): void;
  onFinish(finish: Finish): void;
  onGauges(gauges: { readonly running: number; readonly waiting: number; readonly kvUsage: number }): void;
}
