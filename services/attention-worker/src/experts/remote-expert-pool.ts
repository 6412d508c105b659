import { AppError, type Clock, invariant, type PlacementTable, systemClock, type WorkerId } from "@moiety/core";
import { type ModelIdentity, rowBytesOf } from "@moiety/proto";
import { advertisedAddress, backoffMs, plainTransport, type Transport } from "@moiety/runtime";
import { AbortWatch } from "./abort-watch.js";
import { ChangeBell } from "./change-bell.js";
import { DeadlineSweep } from "./deadline-sweep.js";
import { Delivery, type DeliveryContext, type Failure } from "./delivery.js";
import { choicesOfBatch, choicesOfDispatch, type PlannedDispatch, planDispatches, type RowChoices } from "./dispatch-plan.js";
import { type DispatchServer, startDispatchServer } from "./dispatch-server.js";
import type { ExpertPool, LayerCall, LayerResult } from "./expert-pool.js";
import { type ExpertPoolObserver, silentObserver } from "./expert-pool-observer.js";
import { LayerRun, type RunPart } from "./layer-run.js";
import type { Link } from "./link.js";
import { LinkSet } from "./link-set.js";
import { buildView, emptyView, type PlacementView } from "./placement-view.js";

export interface RemoteExpertPoolOptions {
  readonly selfId: WorkerId;
  /** host:port or unix:path to bind; port 0 takes any free one. */
  readonly listenAddress: string;
  /** Where expert workers reach it: host, host:port or unix:path. Absent: the listen address. */
  readonly advertiseAddress?: string;
  readonly model: ModelIdentity;
  /** Absent: plain text. */
  readonly transport?: Transport;
  readonly limits?: Partial<RemoteExpertPoolLimits>;
  readonly observer?: ExpertPoolObserver;
  readonly clock?: Clock;
  /** 0 to 1, for jitter. */
  readonly random?: () => number;
}

export interface RemoteExpertPoolLimits {
  /** After it a call is repeated on a replica, if there is one; doubles with every repetition. */
  readonly callDeadlineMs: number;
  /** The greatest deadline; after it a call is repeated even on the same worker. */
  readonly maxCallDeadlineMs: number;
  readonly maxRowsPerCall: number;
  /** Per link, both ways. */
  readonly maxOutstandingBytes: number;
  /** Per link. */
  readonly maxWaitingCalls: number;
  readonly linkOpenTimeoutMs: number;
  /** How long a link outlives the placement that needed it. */
  readonly retireMs: number;
}

const DEFAULT_LIMITS: RemoteExpertPoolLimits = {
  callDeadlineMs: 2_000,
  maxCallDeadlineMs: 30_000,
  maxRowsPerCall: 1_024,
  maxOutstandingBytes: 128 * 1024 * 1024,
  maxWaitingCalls: 256,
  linkOpenTimeoutMs: 5_000,
  retireMs: 10_000,
};

/** What is to be computed, where its rows lie, and how often that was tried. */
interface Work {
  readonly choices: RowChoices;
  readonly source: Uint8Array;
  readonly attempt: number;
  readonly avoid?: Link;
}

/** A run of no rows has no other part. */
const SENDING: RunPart = { abandon: () => {} };

const REPEAT_BACKOFF = { firstMs: 5, maxMs: 500 };

/** Experts on expert workers: plans by the newest active placement, sends, and repeats until every slot has its row. */
export class RemoteExpertPool implements ExpertPool {
  /** host:port or unix:path under which expert workers reach this process. */
  readonly address: string;
  readonly #model: ModelIdentity;
  readonly #rowBytes: number;
  readonly #limits: RemoteExpertPoolLimits;
  readonly #observer: ExpertPoolObserver;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #server: DispatchServer;
  readonly #links: LinkSet;
  readonly #runs = new Set<LayerRun>();
  readonly #aborts = new AbortWatch();
  readonly #delivering: DeliveryContext;
  #newest: PlacementTable | undefined;
  #active: PlacementTable | undefined;
  #view: PlacementView<Link>;
  readonly #changed = new ChangeBell();
  #closed = false;

  private constructor(options: RemoteExpertPoolOptions, server: DispatchServer) {
    const { model, selfId, observer = silentObserver, clock = systemClock, random = Math.random } = options;
    this.#model = model;
    this.#rowBytes = rowBytesOf(model);
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#observer = observer;
    this.#clock = clock;
    this.#delivering = {
      deadlines: new DeadlineSweep(clock, Math.min(100, this.#limits.callDeadlineMs / 4)),
      observer,
      monotonicMs: () => clock.monotonicMs(),
      maxDeadlineMs: this.#limits.maxCallDeadlineMs,
      hasAlternative: (layer, dispatch) => this.#hasAlternative(layer, dispatch),
      repeat: (delivery, failure) => this.#repeatLater(delivery, failure),
    };
    this.#random = random;
    this.#server = server;
    this.address = advertisedAddress(options.listenAddress, server.port, options.advertiseAddress);
    this.#view = emptyView(model.layers * model.experts);
    const { maxOutstandingBytes, maxWaitingCalls, linkOpenTimeoutMs: openTimeoutMs, retireMs } = this.#limits;
    const onChange = () => this.#refresh();
    const { transport = plainTransport } = options;
    const base = { selfId, selfAddress: this.address, model, server, transport, clock, random, observer, onChange };
    this.#links = new LinkSet({ ...base, maxOutstandingBytes, maxWaitingCalls, openTimeoutMs }, retireMs);
  }

  /** @throws AppError UNAVAILABLE when the address cannot be bound; INVALID_ARGUMENT for a model without activations. */
  static async start(options: RemoteExpertPoolOptions): Promise<RemoteExpertPool> {
    if (rowBytesOf(options.model) === 0) throw new AppError("INVALID_ARGUMENT", "model: activation and hidden size are required");
    const { listenAddress, model, transport = plainTransport } = options;
    const server = await startDispatchServer({ listenAddress, model, transport });
    return new RemoteExpertPool(options, server);
  }

  /** The epoch by which calls are planned; 0 before the first active placement. */
  get epoch(): number {
    return this.#view.epoch;
  }

  /** Takes a placement. Links are opened for a preparing one too; calls go by the newest active one. Older ones change nothing. */
  updatePlacement(table: PlacementTable): void {
    invariant(table.layers === this.#model.layers && table.experts === this.#model.experts, "the placement is of this model");
    if (this.#closed || !table.isNewerThan(this.#newest)) return;
    this.#newest = table;
    if (table.phase === "active") {
      this.#active = table;
      this.#observer.placementChanged({ epoch: table.epoch, workers: table.workers.length });
    }
    this.#links.want([...(this.#active?.workers ?? []), ...table.workers]);
    this.#refresh();
  }

  async run(call: LayerCall, signal: AbortSignal): Promise<LayerResult> {
    const perToken = this.#model.expertsPerToken;
    invariant(call.normed.length === call.rows * this.#rowBytes, "normed holds one row of activations per row");
    invariant(call.expertIds.length === call.rows * perToken, "expertIds holds one id per row and choice");
    const run = new LayerRun(call.layer, call.trace);
    const { result } = run;
    this.#runs.add(run);
    this.#aborts.add(signal, run);
    if (this.#closed) run.fail(new AppError("CANCELLED", "the pool is closed"));
    run.begin(SENDING);
    if (!run.over) this.#send(run, { choices: choicesOfBatch(call.expertIds, perToken), source: call.normed, attempt: 0 });
    run.end(SENDING);
    try {
      return await result;
    } finally {
      this.#runs.delete(run);
      this.#aborts.delete(signal, run);
    }
  }

  missing(): readonly string[] {
    if (this.#closed) return ["experts: the pool is closed"];
    if (this.#active === undefined) return ["experts: no active placement was received yet"];
    if (this.#view.unserved === 0) return [];
    return [`experts: ${this.#view.unserved} have no live worker under placement ${this.epoch}`, ...this.#links.faults()];
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const run of this.#runs) run.fail(new AppError("CANCELLED", "the pool is closed"));
    this.#links.close();
    await this.#server.close();
  }

  #refresh(): void {
    if (this.#active !== undefined) this.#view = buildView(this.#active, (id) => this.#links.live(id));
    this.#changed.ring();
  }

  /** Plans by what is live now, and sends. */
  #send(run: LayerRun, { choices, source, attempt, avoid }: Work): void {
    const startMs = this.#clock.monotonicMs();
    const view = this.#view;
    const { maxRowsPerCall: maxRows, callDeadlineMs, maxCallDeadlineMs } = this.#limits;
    const planned = planDispatches<Link>(choices, {
      candidates: (expert) => preferOthers(view.candidates(run.layer, expert), avoid),
      load: (link) => link.outstandingRows,
      maxRows,
    });
    const planUs = (this.#clock.monotonicMs() - startMs) * 1_000;
    const deadlineMs = Math.min(maxCallDeadlineMs, callDeadlineMs * 2 ** Math.min(attempt, 20));
    const common = { run, source, attempt, deadlineMs, planUs, epoch: view.epoch };
    const deliveries = planned.map((dispatch) => {
      const { target: link } = dispatch;
      if (link !== undefined) return new Delivery(this.#delivering, { ...common, link, dispatch });
      void this.#park(run, dispatch, source);
      return undefined;
    });
    for (const delivery of deliveries) if (!run.over) delivery?.start();
  }

  #hasAlternative(layer: number, dispatch: PlannedDispatch<Link>): boolean {
    return dispatch.experts.some((expert) => this.#view.candidates(layer, expert).some((link) => link !== dispatch.target));
  }

  async #repeatLater({ spec }: Delivery, failure: Failure): Promise<void> {
    const { run, dispatch, source, attempt, link } = spec;
    // Whoever told of the failure is in the middle of something.
    await null;
    await this.#pauseBeforeRepeat(run, failure, attempt);
    if (!run.over) this.#send(run, { choices: choicesOfDispatch(dispatch), source, attempt: attempt + 1, avoid: link });
  }

  /** Waits until one of the experts has a live worker, and sends then. */
  async #park(run: LayerRun, dispatch: PlannedDispatch<Link>, source: Uint8Array): Promise<void> {
    const part: RunPart = { abandon: () => {} };
    run.begin(part);
    this.#observer.parked({ layer: run.layer, experts: [...new Set(dispatch.experts)] });
    const served = () => dispatch.experts.some((expert) => this.#view.candidates(run.layer, expert).length > 0);
    while (!run.over && !served()) {
      const change = this.#changed.next();
      await Promise.race([change.promise, run.stopped]);
      change.forget();
    }
    if (!run.over) this.#send(run, { choices: choicesOfDispatch(dispatch), source, attempt: 0 });
    run.end(part);
  }

  /** Gives the world time to change: not at all after a first loss, longer with every repetition. */
  async #pauseBeforeRepeat(run: LayerRun, failure: Failure, attempt: number): Promise<void> {
    if (failure.kind !== "refused" && attempt === 0) return;
    const timer = new AbortController();
    const pause = this.#clock
      .sleep(backoffMs(attempt, { ...REPEAT_BACKOFF, random: this.#random }), timer.signal)
      .catch(() => {});
    const change = this.#changed.next();
    await Promise.race([pause, change.promise, run.stopped]);
    change.forget();
    timer.abort();
  }
}

function preferOthers(candidates: readonly Link[], avoid: Link | undefined): readonly Link[] {
  if (avoid === undefined || candidates.length < 2) return candidates;
  return candidates.filter((link) => link !== avoid);
}
