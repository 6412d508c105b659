import { type Clock, invariant, type WorkerId } from "@moiety/core";
import type { ExpertEngine } from "@moiety/kernels";
import type { ExpertRefs } from "@moiety/model";
import { type ModelIdentity, rowBytesOf } from "@moiety/proto";
import type { createRegistry, Logger, Tracing, Transport } from "@moiety/runtime";
import type { CallFacts } from "./calls/call-check.js";
import { CallIntake } from "./calls/call-intake.js";
import { Executor, type ExecutorObserver } from "./calls/executor.js";
import { ExpertHeat } from "./calls/expert-heat.js";
import { traceCalls } from "./calls/trace-calls.js";
import type { ExpertWorkerConfig } from "./config.js";
import { Holdings } from "./holdings/holdings.js";
import { LinkService } from "./links/link-service.js";
import { createWorkerMetrics, type WorkerMetrics } from "./metrics.js";

/** What the worker computes with. Closed by whoever opened it. */
export interface ExpertSource {
  readonly model: ModelIdentity;
  readonly engine: ExpertEngine;
  readonly expertRefs: (layer: number, expert: number) => ExpertRefs;
  /** How long the operation that computes now has computed; 0 when none does. */
  readonly runningMs: () => number;
}

export interface WorkerPartsOptions {
  readonly id: WorkerId;
  readonly config: ExpertWorkerConfig;
  readonly registry: ReturnType<typeof createRegistry>;
  readonly transport: Transport;
  readonly tracing: Tracing;
  readonly source: ExpertSource;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Where attention workers reach this process. */
  readonly selfAddress: () => string;
  /** The ready epoch or the fault changed. */
  readonly onHoldingsChange: () => void;
}

/** The worker without its servers: holdings, the executor, and the links that feed it. */
export class WorkerParts {
  readonly registry: ReturnType<typeof createRegistry>;
  readonly heat: ExpertHeat;
  readonly holdings: Holdings;
  readonly executor: Executor;
  readonly links: LinkService;
  readonly #options: WorkerPartsOptions;
  readonly #rowBytes: number;
  readonly #metrics: WorkerMetrics;

  constructor(options: WorkerPartsOptions) {
    this.#options = options;
    const { source } = options;
    this.#rowBytes = rowBytesOf(source.model);
    invariant(this.#rowBytes > 0, "a model has activations");
    this.registry = options.registry;
    this.heat = new ExpertHeat(source.model);
    this.holdings = this.#createHoldings();
    this.executor = this.#createExecutor();
    this.links = this.#createLinks();
    this.#metrics = this.#createMetrics();
  }

  #createHoldings(): Holdings {
    const { id, source, config, clock, logger, onHoldingsChange } = this.#options;
    return new Holdings({
      self: id,
      engine: source.engine,
      expertsPerLayer: source.model.experts,
      expertRefs: source.expertRefs,
      drainMs: config.MOIETY_EXPERT_DRAIN_MS,
      clock,
      logger,
      onChange: onHoldingsChange,
    });
  }

  #createExecutor(): Executor {
    const { source, config, clock, logger, tracing } = this.#options;
    const observer: ExecutorObserver = {
      executed: (batch) => {
        this.heat.add(batch.calls);
        this.#metrics.executed(batch);
        traceCalls(tracing, batch);
      },
      failed: (call) => {
        this.#metrics.failed(call);
        logger.error({ code: call.code, reason: call.message, layer: call.layer }, "a call failed");
      },
    };
    return new Executor({
      engine: source.engine,
      rowBytes: this.#rowBytes,
      clock,
      limits: {
        maxQueuedCalls: config.MOIETY_MAX_QUEUED_CALLS,
        maxQueuedBytes: config.MOIETY_MAX_QUEUED_BYTES,
        maxBatchPairs: config.MOIETY_MAX_BATCH_PAIRS,
        maxRunningBatches: config.MOIETY_MAX_RUNNING_BATCHES,
      },
      newestEpoch: () => this.holdings.newestEpoch,
      observer,
    });
  }

  #createLinks(): LinkService {
    const { id, source, config, transport, clock, logger, selfAddress } = this.#options;
    const { holdings, executor } = this;
    const facts: CallFacts = {
      model: source.model,
      rowBytes: this.#rowBytes,
      maxRows: config.MOIETY_MAX_CALL_ROWS,
      get newestEpoch() {
        return holdings.newestEpoch;
      },
      holds: (layer, expert) => source.engine.holds(layer, expert),
    };
    const intake = new CallIntake({ facts, executor, clock, refused: (fault) => this.#metrics.failed(fault) });
    return new LinkService({
      selfId: id,
      model: source.model,
      selfAddress,
      maxLinks: config.MOIETY_MAX_LINKS,
      openTimeoutMs: config.MOIETY_LINK_OPEN_TIMEOUT_MS,
      transport,
      clock,
      logger,
      onCall: (link, call) => intake.take(link, call),
      onClose: (link) => executor.drop(link),
    });
  }

  #createMetrics(): WorkerMetrics {
    const { executor, links, holdings, heat } = this;
    const { engine } = this.#options.source;
    return createWorkerMetrics(this.registry, {
      queuedCalls: () => executor.queuedCalls,
      queuedBytes: () => executor.queuedBytes,
      runningCalls: () => executor.runningCalls,
      links: () => links.size,
      residentBytes: () => engine.residentBytes,
      heldExperts: () => holdings.heldCount,
      readyEpoch: () => holdings.readyEpoch,
      forEachHeat: (visit) => heat.forEachTotal(visit),
    });
  }
}
