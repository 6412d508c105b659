import { AppError, type Clock, type Deferred, deferred, type ErrorCode } from "@moiety/core";
import type { ExpertEngine } from "@moiety/kernels";
import { type Batch, mergeCalls } from "./batch.js";
import type { CallOwner, WaitingCall } from "./call.js";
import { CallQueue } from "./call-queue.js";

export interface ExecutorLimits {
  readonly maxQueuedCalls: number;
  readonly maxQueuedBytes: number;
  /** Pairs of merged calls; a single call may have more. */
  readonly maxBatchPairs: number;
  /** Native calls at once: one computes, the others wait in the native queue, where nothing merges with them. */
  readonly maxRunningBatches: number;
}

/** Hears what an executor does, for metrics. Nothing here may throw or take long. */
export interface ExecutorObserver {
  executed(batch: {
    readonly calls: readonly WaitingCall[];
    readonly queueMs: readonly number[];
    readonly computeMs: number;
  }): void;
  failed(call: { readonly code: ErrorCode; readonly message: string; readonly layer: number }): void;
}

export interface ExecutorOptions {
  readonly engine: ExpertEngine;
  readonly rowBytes: number;
  readonly limits: ExecutorLimits;
  readonly clock: Clock;
  readonly observer: ExecutorObserver;
  /** The newest placement that this worker knows: it travels in every answer. */
  newestEpoch(): number;
}

/** Runs waiting calls, merged by layer, and answers each exactly once. */
export class Executor {
  readonly #options: ExecutorOptions;
  readonly #queue: CallQueue;
  #runningBatches = 0;
  #runningCalls = 0;
  #idle: Deferred<void> | undefined;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    const { maxQueuedCalls, maxQueuedBytes } = options.limits;
    this.#queue = new CallQueue({ maxCalls: maxQueuedCalls, maxBytes: maxQueuedBytes });
  }

  get queuedCalls(): number {
    return this.#queue.size;
  }

  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  get runningCalls(): number {
    return this.#runningCalls;
  }

  /** Returns false, and does nothing, when the queue is full. */
  submit(call: WaitingCall): boolean {
    if (!this.#queue.push(call)) return false;
    this.#startNext();
    return true;
  }

  /** Forgets the waiting calls of a link that is gone. */
  drop(owner: CallOwner): void {
    this.#queue.drop(owner);
    this.#settleIfIdle();
  }

  /** Resolves when nothing waits and nothing runs. */
  whenIdle(): Promise<void> {
    if (this.#queue.size === 0 && this.#runningBatches === 0) return Promise.resolve();
    this.#idle ??= deferred();
    return this.#idle.promise;
  }

  #startNext(): void {
    const { maxRunningBatches, maxBatchPairs } = this.#options.limits;
    while (this.#runningBatches < maxRunningBatches) {
      const calls = this.#queue.takeBatch(maxBatchPairs);
      if (calls.length === 0) break;
      this.#runningBatches += 1;
      this.#runningCalls += calls.length;
      void this.#execute(calls).then(() => {
        this.#runningBatches -= 1;
        this.#runningCalls -= calls.length;
        this.#startNext();
      });
    }
    this.#settleIfIdle();
  }

  #settleIfIdle(): void {
    if (this.#queue.size > 0 || this.#runningBatches > 0) return;
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  /** Never rejects. A merged batch that fails is run again call by call, so that one caller's fault stays its own. */
  async #execute(calls: readonly WaitingCall[]): Promise<void> {
    const fault = await this.#tryExecute(calls);
    if (fault === undefined) return;
    if (calls.length > 1) {
      for (const call of calls) await this.#execute([call]);
      return;
    }
    for (const call of calls) this.#refuse(call, fault);
  }

  async #tryExecute(calls: readonly WaitingCall[]): Promise<AppError | undefined> {
    const { engine, clock, rowBytes } = this.#options;
    const startMs = clock.monotonicMs();
    try {
      const batch = mergeCalls(calls, rowBytes);
      await engine.run(batch.expertCall);
      this.#answer(batch, startMs);
      return undefined;
    } catch (error) {
      return AppError.from(error);
    }
  }

  #answer({ calls, frames }: Batch, startMs: number): void {
    const { clock, observer } = this.#options;
    const epoch = this.#options.newestEpoch();
    const computeMs = clock.monotonicMs() - startMs;
    const queueMs = calls.map((call) => startMs - call.arrivedMs);
    const computeUs = microseconds(computeMs);
    calls.forEach(({ owner, callId }, index) => {
      const frame = frames[index];
      if (frame === undefined) return;
      const header = { callId, epoch, queueUs: microseconds(queueMs[index] ?? 0), computeUs };
      owner.answer({ kind: "rows", header, frame });
    });
    observer.executed({ calls, queueMs, computeMs });
  }

  #refuse(call: WaitingCall, { code, message }: AppError): void {
    const { clock, observer } = this.#options;
    const queueUs = microseconds(clock.monotonicMs() - call.arrivedMs);
    const header = { callId: call.callId, epoch: this.#options.newestEpoch(), queueUs, computeUs: 0 };
    call.owner.answer({ kind: "error", header, code, message });
    observer.failed({ code, message, layer: call.layer });
  }
}

/** What fits into the wire's 32 bits. */
function microseconds(ms: number): number {
  return Math.min(0xffff_ffff, Math.max(0, Math.round(ms * 1_000)));
}
