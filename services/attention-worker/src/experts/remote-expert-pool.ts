import { AppError, type Clock, invariant, type PlacementTable, systemClock, type WorkerId } from "@moiety/core";
import { type ModelIdentity, rowBytesOf } from "@moiety/proto";
import { advertisedAddress, backoffMs, plainTransport, type Transport } from "@moiety/runtime";
import { ChangeBell } from "./change-bell.js";
import { DeadlineSweep } from "./deadline-sweep.js";
import { planDispatches, type RowChoices } from "./dispatch-plan.js";
import { type DispatchServer, startDispatchServer } from "./dispatch-server.js";
import type { ExpertPool, LayerCall, LayerResult } from "./expert-pool.js";
import { type ExpertPoolObserver, silentObserver } from "./expert-pool-observer.js";
import { LayerRun } from "./layer-run.js";
import type { Link } from "./link.js";
import { LinkSet } from "./link-set.js";
import { type CallOutcome, fatalError } from "./outstanding-calls.js";
import { buildView, emptyView, type PlacementView } from "./placement-view.js";
import { choicesOf, type PreparedDispatch, prepareDispatch } from "./prepared-dispatch.js";

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

type Prepared = PreparedDispatch<Link>;
type Failure = Exclude<CallOutcome, { kind: "rows" } | { kind: "abandoned" }> | { readonly kind: "late" };

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
  readonly #deadlines: DeadlineSweep;
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
    this.#deadlines = new DeadlineSweep(clock, Math.min(100, this.#limits.callDeadlineMs / 4));
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
    const run = new LayerRun(call.layer, signal);
    if (this.#closed) run.fail(new AppError("CANCELLED", "the pool is closed"));
    this.#runs.add(run);
    try {
      if (!run.over) await this.#runAll(run, firstChoices(call, perToken), { source: call.normed, attempt: 0 });
      return run.finish();
    } finally {
      this.#runs.delete(run);
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

  /** Plans, copies the rows (before the first await) and delivers every dispatch. */
  async #runAll(run: LayerRun, choices: RowChoices, from: { source: Uint8Array; attempt: number; avoid?: Link }): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const { source, attempt, avoid } = from;
    const view = this.#view;
    const planned = planDispatches<Link>(choices, {
      candidates: (expert) => preferOthers(view.candidates(run.layer, expert), avoid),
      load: (link) => link.outstandingRows,
      maxRows: this.#limits.maxRowsPerCall,
    });
    const prepared = planned.map((dispatch) => prepareDispatch(dispatch, source, this.#rowBytes));
    const hop = { attempt, epoch: view.epoch, encodeUs: (this.#clock.monotonicMs() - startMs) * 1_000 };
    await Promise.all(prepared.map((dispatch) => this.#deliver(run, dispatch, hop)));
  }

  async #deliver(run: LayerRun, dispatch: Prepared, hop: { attempt: number; epoch: number; encodeUs: number }): Promise<void> {
    const { target: link } = dispatch;
    if (link === undefined) {
      await this.#park(run, dispatch);
      return run.over ? undefined : this.#repeat(run, dispatch, 0);
    }
    run.called(link.workerId);
    const outcome = await this.#call(run, { link, dispatch, attempt: hop.attempt, epoch: hop.epoch });
    if (run.over || outcome.kind === "abandoned") return;
    if (outcome.kind === "rows") {
      const { networkUs, queueUs, computeUs } = outcome;
      const timings = { encodeUs: hop.encodeUs, networkUs, queueUs, computeUs };
      run.add({ rows: outcome.rows, slots: dispatch.slots }, timings);
      const counts = { rows: dispatch.rows.length, pairs: dispatch.slots.length, attempt: hop.attempt };
      this.#observer.answered({ workerId: link.workerId, layer: run.layer, ...counts, timings });
      return;
    }
    const fatal = outcome.kind === "refused" ? fatalError(outcome, hop.attempt) : undefined;
    if (fatal !== undefined) return run.fail(fatal);
    this.#observer.repeated({ workerId: link.workerId, layer: run.layer, ...describe(outcome) });
    await this.#pauseBeforeRepeat(run, outcome, hop.attempt);
    if (!run.over) await this.#repeat(run, dispatch, hop.attempt + 1, link);
  }

  #repeat(run: LayerRun, dispatch: Prepared, attempt: number, avoid?: Link): Promise<void> {
    return this.#runAll(run, choicesOf(dispatch), {
      source: dispatch.frame.rows,
      attempt,
      ...(avoid !== undefined && { avoid }),
    });
  }

  /** Sends and waits: for the answer, or for a deadline after which it is worth asking somebody else. */
  async #call(
    run: LayerRun,
    call: { link: Link; dispatch: Prepared; attempt: number; epoch: number },
  ): Promise<CallOutcome | { kind: "late" }> {
    const { link, dispatch, attempt, epoch } = call;
    const { maxCallDeadlineMs, callDeadlineMs } = this.#limits;
    const pending = link.send({ layer: run.layer, epoch, dispatch });
    const deadlineMs = Math.min(maxCallDeadlineMs, callDeadlineMs * 2 ** Math.min(attempt, 20));
    for (let waitedMs = deadlineMs; ; waitedMs += deadlineMs) {
      const outcome = await this.#withinDeadline(run, pending.outcome, deadlineMs);
      if (outcome !== undefined) return outcome;
      if (run.over) {
        pending.abandon();
        return { kind: "abandoned" };
      }
      const abandoned = waitedMs >= maxCallDeadlineMs || this.#hasAlternative(run.layer, dispatch);
      this.#observer.timedOut({ workerId: link.workerId, layer: run.layer, waitedMs, abandoned });
      if (!abandoned) continue;
      pending.abandon();
      return { kind: "late" };
    }
  }

  /** Absent: the deadline passed or the run is over. */
  async #withinDeadline(run: LayerRun, outcome: Promise<CallOutcome>, ms: number): Promise<CallOutcome | undefined> {
    let forgetDeadline = () => {};
    const late = new Promise<undefined>((resolve) => {
      forgetDeadline = this.#deadlines.add(ms, () => resolve(undefined));
    });
    const first = await Promise.race([outcome, late, run.stopped]);
    forgetDeadline();
    return first ?? undefined;
  }

  #hasAlternative(layer: number, dispatch: Prepared): boolean {
    return dispatch.experts.some((expert) => this.#view.candidates(layer, expert).some((link) => link !== dispatch.target));
  }

  /** Waits until one of the experts has a live worker. */
  async #park(run: LayerRun, dispatch: Prepared): Promise<void> {
    this.#observer.parked({ layer: run.layer, experts: [...new Set(dispatch.experts)] });
    const served = () => dispatch.experts.some((expert) => this.#view.candidates(run.layer, expert).length > 0);
    while (!run.over && !served()) {
      const change = this.#changed.next();
      await Promise.race([change.promise, run.stopped]);
      change.forget();
    }
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

function firstChoices(call: LayerCall, expertsPerToken: number): RowChoices {
  const slots = Uint32Array.from({ length: call.expertIds.length }, (_, slot) => slot);
  return { rows: slots.map((slot) => Math.floor(slot / expertsPerToken)), experts: call.expertIds, slots };
}

function preferOthers(candidates: readonly Link[], avoid: Link | undefined): readonly Link[] {
  if (avoid === undefined || candidates.length < 2) return candidates;
  return candidates.filter((link) => link !== avoid);
}

function describe(failure: Failure) {
  if (failure.kind === "refused") return { reason: failure.code, message: failure.message };
  if (failure.kind === "lost") return { reason: "LINK_LOST" as const, message: failure.reason };
  return { reason: "DEADLINE_EXCEEDED" as const, message: "no answer within the deadline" };
}
