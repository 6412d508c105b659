import { AppError, type Clock, type Deferred, deferred, type PlacementTable, systemClock } from "@moiety/core";
import { type Placement, type RouterMessage, WorkerKind } from "@moiety/proto";
import { backoffMs } from "./backoff.js";
import type { ControlClientOptions, ControlState } from "./control-client-options.js";
import { type ControlSession, openControlSession } from "./control-session.js";
import { parsePlacement, placementMessage } from "./placement-message.js";
import { type Conversation, RouterSearch } from "./router-search.js";
import type { RouterTarget } from "./router-targets.js";
import { plainTransport } from "./transport.js";

export type PlacementListener = (table: PlacementTable) => void;

const JOIN_TIMEOUT_MS = 5_000;
const CLOSE_TIMEOUT_MS = 500;
const BACKOFF = { firstMs: 100, maxMs: 1_000 };
/** Where others may answer, a silent router is left sooner, and a leader is to be expected soon. */
const OF_SEVERAL = { joinTimeoutMs: 2_000, maxBackoffMs: 400 };
const HEARTBEAT_BOUNDS_MS = { min: 50, max: 60_000 };

/**
 * A worker's side of the control plane: one stream to the router that leads, kept open for ever. The router may be absent at the start
 * and at any time; the placements held stay valid meanwhile. Of several routers, each is tried in turn until one welcomes the worker.
 */
export class ControlClient {
  readonly #options: ControlClientOptions;
  readonly #clock: Clock;
  readonly #listeners = new Set<PlacementListener>();
  readonly #closing = new AbortController();
  readonly #search: RouterSearch;
  #state: ControlState = { kind: "idle" };
  #session: ControlSession | undefined;
  #running: Promise<void> = Promise.resolve();
  #wake: Deferred<void> = deferred();
  #draining = false;
  #newest: PlacementTable | undefined;
  #active: PlacementTable | undefined;
  /** Of the router that welcomed this worker last: one that was elected before it leads no more. */
  #term = 0;

  constructor(options: ControlClientOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#search = new RouterSearch({
      routerAddress: options.routerAddress,
      signal: this.#closing.signal,
      converse: (target, { isOnly }) => this.#converse(target, isOnly ? JOIN_TIMEOUT_MS : OF_SEVERAL.joinTimeoutMs),
    });
  }

  get state(): ControlState {
    return this.#state;
  }

  /** The newest placement seen, whatever its phase. */
  get newest(): PlacementTable | undefined {
    return this.#newest;
  }

  /** The newest active placement seen: by this one calls are sent. */
  get active(): PlacementTable | undefined {
    return this.#active;
  }

  /** Calls back for every placement that replaces the one held, oldest first. Returns how to stop. A new listener hears of what is held. */
  onPlacement(listener: PlacementListener): () => void {
    this.#listeners.add(listener);
    if (this.#active !== undefined) listener(this.#active);
    if (this.#newest !== undefined && this.#newest !== this.#active) listener(this.#newest);
    return () => this.#listeners.delete(listener);
  }

  /** Starts joining, in the background. */
  start(): void {
    if (this.#state.kind !== "idle") return;
    this.#running = this.#run();
  }

  /** Sends a status as soon as possible instead of at the next interval: after a placement was loaded, or a fault. */
  reportSoon(): void {
    this.#wake.resolve();
  }

  /**
   * Says that the worker is leaving, waits until the active placement no longer needs it, and closes. The caller goes
   * on answering calls meanwhile. Returns whether the placement let the worker go within `timeoutMs`.
   */
  async leave(timeoutMs: number): Promise<boolean> {
    this.#draining = true;
    this.reportSoon();
    const released = deferred<boolean>();
    const stop = this.onPlacement(() => this.#isReleased() && released.resolve(true));
    if (this.#isReleased()) released.resolve(true);
    const timer = new AbortController();
    this.#clock.sleep(timeoutMs, timer.signal).then(
      () => released.resolve(false),
      () => {},
    );
    const left = await released.promise;
    timer.abort();
    stop();
    await this.close();
    return left;
  }

  /** Says that the worker is leaving and ends the stream. */
  async close(): Promise<void> {
    if (this.#state.kind === "closed") return;
    this.#draining = true;
    const session = this.#session;
    if (session !== undefined && this.#state.kind === "joined") this.#sendStatus(session);
    session?.finish();
    this.#closing.abort();
    const timer = new AbortController();
    this.#clock.sleep(CLOSE_TIMEOUT_MS, timer.signal).then(
      () => session?.abort(new AppError("CANCELLED", "the worker is closing")),
      () => {},
    );
    await this.#running;
    timer.abort();
    this.#state = { kind: "closed" };
  }

  #isReleased(): boolean {
    const { workerId, kind } = this.#options.worker;
    if (kind === "attention" || this.#newest === undefined) return true;
    const needed = this.#active?.expertsOf(workerId)?.some((experts) => experts.length > 0) ?? false;
    return !needed && (this.#active !== undefined || this.#newest.expertsOf(workerId) === undefined);
  }

  async #run(): Promise<void> {
    const { logger, routerAddress, random = Math.random } = this.#options;
    for (let attempt = 0; !this.#closing.signal.aborted; attempt += 1) {
      this.#state = { kind: "connecting" };
      const { joined, error, targets } = await this.#search.round();
      if (this.#closing.signal.aborted) return;
      if (joined) attempt = 0;
      const maxMs = targets > 1 ? OF_SEVERAL.maxBackoffMs : BACKOFF.maxMs;
      const delayMs = backoffMs(attempt, { ...BACKOFF, maxMs, random });
      this.#state = { kind: "waiting", delayMs, error };
      const refused = error !== undefined && !error.retryable;
      logger[refused ? "error" : "warn"](
        { routerAddress, delayMs, code: error?.code, reason: error?.message },
        refused ? "router refused this worker" : "router is out of reach",
      );
      await this.#clock.sleep(delayMs, this.#closing.signal).catch(() => {});
    }
  }

  /** One session, from Hello to its end. */
  async #converse(target: RouterTarget, joinTimeoutMs: number): Promise<Conversation> {
    const welcomed = deferred<number>();
    const session = openControlSession({
      target,
      transport: this.#options.transport ?? plainTransport,
      onMessage: (message) => this.#receive(message, welcomed, session),
    });
    this.#session = session;
    session.send({ $case: "hello", value: this.#hello() });
    const timer = new AbortController();
    this.#clock.sleep(joinTimeoutMs, timer.signal).then(
      () => session.abort(new AppError("DEADLINE_EXCEEDED", "the router did not answer Hello in time")),
      () => {},
    );
    const intervalMs = await Promise.race([welcomed.promise, session.ended.then(() => undefined)]);
    timer.abort();
    if (intervalMs !== undefined) {
      this.#state = { kind: "joined", heartbeatIntervalMs: intervalMs };
      this.#options.logger.info(
        { heartbeatIntervalMs: intervalMs, router: target.address, term: this.#term },
        "joined the router",
      );
      await this.#beat(session, intervalMs);
    }
    const error = await session.ended;
    this.#session = undefined;
    return { joined: intervalMs !== undefined, error };
  }

  /** Sends the status at every interval, and whenever asked, until the session ends. */
  async #beat(session: ControlSession, intervalMs: number): Promise<void> {
    let over = false;
    // Wakes the loop rather than being raced against in every turn: races leave something behind in a promise that lives for days.
    session.ended.then(() => {
      over = true;
      this.#wake.resolve();
    });
    while (!over) {
      this.#wake = deferred();
      this.#sendStatus(session);
      const timer = new AbortController();
      const pause = this.#clock.sleep(intervalMs, timer.signal).catch(() => {});
      await Promise.race([pause, this.#wake.promise]);
      timer.abort();
    }
  }

  #sendStatus(session: ControlSession): void {
    if (!session.writable) return;
    session.send({ $case: "status", value: { ...this.#options.status(), draining: this.#draining } });
  }

  #hello() {
    const { kind, model, ...worker } = this.#options.worker;
    return {
      ...worker,
      kind: kind === "expert" ? WorkerKind.WORKER_KIND_EXPERT : WorkerKind.WORKER_KIND_ATTENTION,
      model,
      placement: this.#newest === undefined ? undefined : placementMessage(this.#newest),
      routerTerm: this.#term,
    };
  }

  #receive(message: RouterMessage, welcomed: Deferred<number>, session: ControlSession): void {
    switch (message.message?.$case) {
      case "welcome": {
        const { min, max } = HEARTBEAT_BOUNDS_MS;
        const { term, heartbeatIntervalMs } = message.message.value;
        // A router without a term is the only one.
        if (term !== 0 && term < this.#term) {
          session.abort(new AppError("UNAVAILABLE", `the router leads under term ${term}, and term ${this.#term} has begun`));
          return;
        }
        this.#term = term;
        welcomed.resolve(Math.min(max, Math.max(min, heartbeatIntervalMs)));
        return;
      }
      case "placement": {
        const table = this.#parse(message.message.value, session);
        if (table !== undefined) this.#take(table);
        return;
      }
      default:
        this.#options.logger.warn("router sent a message of an unknown kind");
    }
  }

  /** A placement that makes no sense ends the session: going on with half of the truth would hide it. */
  #parse(message: Placement, session: ControlSession): PlacementTable | undefined {
    try {
      return parsePlacement(message, this.#options.worker.model);
    } catch (error) {
      session.abort(AppError.from(error));
      return undefined;
    }
  }

  #take(table: PlacementTable): void {
    const { logger } = this.#options;
    if (!table.isNewerThan(this.#newest)) {
      logger.debug({ epoch: table.epoch, held: this.#newest?.epoch }, "ignored an old placement");
      return;
    }
    this.#newest = table;
    if (table.phase === "active") this.#active = table;
    logger.info({ epoch: table.epoch, phase: table.phase, workers: table.workers.length }, "placement received");
    for (const listener of [...this.#listeners]) listener(table);
  }
}
