import { AppError, deferred } from "@moiety/core";
import type { BatchClaim, Ledgers } from "@moiety/queue";
import type { FileStore } from "../files/file-store.js";
import type { GatewayContext } from "../gateway-context.js";
import { claimLost } from "./batch-records.js";
import { BatchRun } from "./batch-run.js";
import { BATCH_PRIORITY } from "./line-request.js";
import { LineSlots } from "./line-slots.js";

export interface BatchRunnerOptions {
  readonly context: GatewayContext;
  readonly ledgers: Ledgers;
  readonly store: FileStore;
}

/** Batches that one gateway holds at a time; their lines share its slots. */
const MAX_BATCHES = 8;
const POLL_MS = 1_000;
/** After a run that failed for no fault of the batch. */
const PAUSE_MS = 5_000;
/** For runs to let go; whatever they still do then is fenced off. */
const STOP_MS = 5_000;

/** Takes batches that nobody works on, and works on them. */
export class BatchRunner {
  readonly #options: BatchRunnerOptions;
  readonly #slots: LineSlots;
  readonly #stopping = new AbortController();
  readonly #runs = new Map<BatchClaim["id"], Promise<void>>();
  #wake = deferred<void>();

  constructor(options: BatchRunnerOptions) {
    const { config, producer, clock } = options.context;
    this.#options = options;
    this.#slots = new LineSlots({
      count: Math.max(1, config.MOIETY_BATCH_LINES),
      clock,
      liveWaiting: () => producer.moreUrgent(BATCH_PRIORITY),
    });
  }

  start(): void {
    this.#poll().catch(() => undefined);
  }

  /** There may be something to do. */
  wake(): void {
    this.#wake.resolve();
  }

  /** Lets go of every batch, so that others take them over at once. What their lines have begun goes on. */
  async stop(): Promise<void> {
    if (!this.#stopping.signal.aborted) this.#stopping.abort(new AppError("ABORTED", "this gateway is shutting down"));
    this.wake();
    const patience = new AbortController();
    const overdue = this.#options.context.clock.sleep(STOP_MS, patience.signal).catch(() => undefined);
    await Promise.race([Promise.all(this.#runs.values()), overdue]);
    patience.abort();
  }

  async #poll(): Promise<void> {
    const { context, ledgers } = this.#options;
    const { clock, metrics, logger, config } = context;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#wake = deferred<void>();
      try {
        metrics.openBatches(await ledgers.batches.openCount());
        if (config.MOIETY_BATCH_LINES > 0) await this.#claimAll();
      } catch (error) {
        logger.error({ err: error }, "looking for batches failed");
      }
      const rest = new AbortController();
      await Promise.race([clock.sleep(POLL_MS, AbortSignal.any([rest.signal, signal])), this.#wake.promise]).catch(
        () => undefined,
      );
      rest.abort();
    }
  }

  async #claimAll(): Promise<void> {
    const { ledgers, context } = this.#options;
    const leaseMs = context.config.MOIETY_BATCH_LEASE_MS;
    while (this.#runs.size < MAX_BATCHES && !this.#stopping.signal.aborted) {
      const claim = await ledgers.batches.claim({ leaseMs, nowMs: context.clock.nowMs() });
      if (claim === undefined) return;
      const run = this.#run(claim).finally(() => {
        this.#runs.delete(claim.id);
        this.wake();
      });
      this.#runs.set(claim.id, run);
    }
  }

  /** Never throws. */
  async #run(claim: BatchClaim): Promise<void> {
    const { context, ledgers } = this.#options;
    const { clock, logger, metrics } = context;
    const lost = new AbortController();
    const over = new AbortController();
    const leave = AbortSignal.any([this.#stopping.signal, lost.signal]);
    if (claim.isTakeover) metrics.batchTakenOver();
    logger.info({ batch: claim.id, takeover: claim.isTakeover }, "working on a batch");
    const run = new BatchRun({ ...this.#options, slots: this.#slots, claim, leave });
    this.#keep(claim, { run, lost, over: over.signal }).catch((error: unknown) => {
      if (!over.signal.aborted) lost.abort(error);
    });
    try {
      await run.work();
    } catch (error) {
      if (lost.signal.aborted || isLoss(error)) logger.warn({ err: error, batch: claim.id }, "lost a batch to another gateway");
      else if (!leave.aborted) {
        metrics.batchFailedToRun();
        logger.error({ err: error, batch: claim.id }, "work on a batch failed; it is begun again");
        await clock.sleep(PAUSE_MS, this.#stopping.signal).catch(() => undefined);
      }
      // No renewal may follow: it would hold the batch against the next one.
      over.abort();
      await ledgers.patiently(ledgers.batches.release(claim)).catch(() => undefined);
    } finally {
      over.abort();
    }
  }

  /** Renews the lease, and tells the run what happens to its batch meanwhile. */
  async #keep(
    claim: BatchClaim,
    { run, lost, over }: { readonly run: BatchRun; readonly lost: AbortController; readonly over: AbortSignal },
  ): Promise<void> {
    const { context, ledgers } = this.#options;
    const leaseMs = context.config.MOIETY_BATCH_LEASE_MS;
    for (;;) {
      await context.clock.sleep(Math.min(POLL_MS, leaseMs / 3), over);
      const version = await ledgers.batches.renew(claim, leaseMs);
      if (over.aborted) return;
      if (version === undefined) return lost.abort(claimLost());
      run.onVersion(version);
    }
  }
}

const isLoss = (error: unknown): boolean => error instanceof AppError && error.message === claimLost().message;
