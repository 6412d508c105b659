import type { Clock, ErrorCode } from "@moiety/core";
import type { DispatchRows } from "@moiety/proto";
import type { CallOwner } from "./call.js";
import { type CallFacts, checkCall } from "./call-check.js";
import type { Executor } from "./executor.js";

export interface CallIntakeOptions {
  readonly facts: CallFacts;
  readonly executor: Executor;
  readonly clock: Clock;
  /** A call was answered with an error. */
  refused(fault: { readonly code: ErrorCode }): void;
}

/** Where calls come in from links: each is queued, or answered with a precise error at once. */
export class CallIntake {
  readonly #options: CallIntakeOptions;

  constructor(options: CallIntakeOptions) {
    this.#options = options;
  }

  take(owner: CallOwner, call: DispatchRows): void {
    const { facts, executor, clock } = this.#options;
    const checked = checkCall(call, facts);
    if ("code" in checked) {
      this.#refuse(owner, call, checked.code, checked.message);
      return;
    }
    const accepted = executor.submit({
      owner,
      callId: call.callId,
      layer: call.layer,
      rows: call.rows,
      pairRows: checked.rows,
      pairExperts: checked.experts,
      bytes: call.rows.length + call.pairCount * facts.rowBytes,
      arrivedMs: clock.monotonicMs(),
      traceContext: call.traceContext,
    });
    if (!accepted) this.#refuse(owner, call, "RESOURCE_EXHAUSTED", "too many calls wait here");
  }

  #refuse(owner: CallOwner, call: DispatchRows, code: ErrorCode, message: string): void {
    const header = { callId: call.callId, epoch: this.#options.facts.newestEpoch, queueUs: 0, computeUs: 0 };
    owner.answer({ kind: "error", header, code, message });
    this.#options.refused({ code });
  }
}
