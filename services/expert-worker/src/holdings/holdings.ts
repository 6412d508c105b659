import { AppError, type Clock, type PlacementTable, type WorkerId } from "@moiety/core";
import type { ExpertEngine } from "@moiety/kernels";
import type { ExpertRefs } from "@moiety/model";
import { backoffMs, type Logger } from "@moiety/runtime";
import { assignedKeys, type ExpertKey, type Placements, wantedKeys } from "./holding-plan.js";

export interface HoldingsOptions {
  readonly self: WorkerId;
  readonly engine: ExpertEngine;
  readonly expertsPerLayer: number;
  readonly expertRefs: (layer: number, expert: number) => ExpertRefs;
  /** How long an expert is kept after a newer active placement took it away. */
  readonly drainMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The ready epoch or the fault changed. */
  onChange(): void;
}

const RETRY = { firstMs: 500, maxMs: 30_000, random: Math.random };
const PROGRESS_INTERVAL_MS = 5_000;

/** The experts that this worker holds: follows the placements, loads what it lacks, frees what was taken away. */
export class Holdings {
  readonly #options: HoldingsOptions;
  readonly #closing = new AbortController();
  readonly #held = new Set<ExpertKey>();
  /** Held, no longer wanted, since when. */
  readonly #dropped = new Map<ExpertKey, number>();
  #placements: Placements = { active: undefined, newest: undefined };
  #wake = new AbortController();
  #readyEpoch = 0;
  #fault = "";
  #running: Promise<void>;

  constructor(options: HoldingsOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  /** The newest placement whose experts this worker holds completely; 0 before the first. */
  get readyEpoch(): number {
    return this.#readyEpoch;
  }

  /** The newest placement seen; 0 before the first. */
  get newestEpoch(): number {
    return this.#placements.newest?.epoch ?? 0;
  }

  /** Why an expert could not be loaded; empty when all is well. */
  get fault(): string {
    return this.#fault;
  }

  get heldCount(): number {
    return this.#held.size;
  }

  /** Why this worker cannot do its share now; empty when it can. */
  missing(): readonly string[] {
    const { newest } = this.#placements;
    if (newest === undefined) return ["placement: none was received yet"];
    const absent = this.#absent().length;
    if (absent === 0) return [];
    return [
      `experts: ${absent} are still to be loaded for placement ${newest.epoch}`,
      ...(this.#fault === "" ? [] : [this.#fault]),
    ];
  }

  /** Takes a placement; the work happens in the background. */
  apply(table: PlacementTable): void {
    if (!table.isNewerThan(this.#placements.newest)) return;
    this.#placements = { active: table.phase === "active" ? table : this.#placements.active, newest: table };
    this.#markDropped();
    this.#updateReady();
    this.#wake.abort();
  }

  /** Stops following; what is held stays until the engine closes. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#closing.signal.aborted) {
      this.#wake = new AbortController();
      const wake = this.#wake.signal;
      if (this.#closing.signal.aborted) return;
      failures = (await this.#loadAbsent(wake)) ? 0 : failures + 1;
      await this.#freeDue();
      if (wake.aborted) continue;
      await this.#pause(failures === 0 ? this.#untilNextFree() : backoffMs(failures - 1, RETRY), wake);
    }
  }

  /** Loads one expert after another until all are there or the placement changed. Returns false when one failed. */
  async #loadAbsent(wake: AbortSignal): Promise<boolean> {
    const absent = this.#absent();
    if (absent.length === 0) return true;
    const { clock, logger, engine } = this.#options;
    const epoch = this.newestEpoch;
    const startMs = clock.monotonicMs();
    let reportMs = startMs + PROGRESS_INTERVAL_MS;
    let loaded = 0;
    for (const key of absent) {
      if (wake.aborted) return true;
      if (!(await this.#load(key))) return false;
      loaded += 1;
      if (clock.monotonicMs() < reportMs) continue;
      reportMs = clock.monotonicMs() + PROGRESS_INTERVAL_MS;
      logger.info({ epoch, loaded, total: absent.length, residentBytes: engine.residentBytes }, "loading experts");
    }
    this.#updateReady();
    const tookMs = Math.round(clock.monotonicMs() - startMs);
    logger.info({ epoch, loaded, residentBytes: engine.residentBytes, tookMs }, "experts loaded");
    return true;
  }

  async #load(key: ExpertKey): Promise<boolean> {
    const { engine, expertRefs, logger } = this.#options;
    const { layer, expert } = this.#place(key);
    try {
      await engine.load(expertRefs(layer, expert));
      this.#held.add(key);
      return true;
    } catch (error) {
      const { code, message } = AppError.from(error);
      logger.error({ layer, expert, code, reason: message }, "an expert cannot be loaded");
      this.#setFault(`expert ${expert} of layer ${layer} cannot be loaded: ${message}`);
      return false;
    }
  }

  /** Frees what was taken away long enough ago. */
  async #freeDue(): Promise<void> {
    const { engine, clock, drainMs, logger } = this.#options;
    const dueMs = clock.monotonicMs() - drainMs;
    const due = [...this.#dropped].filter(([, sinceMs]) => sinceMs <= dueMs).map(([key]) => key);
    for (const key of due) {
      if (!this.#dropped.has(key)) continue;
      const { layer, expert } = this.#place(key);
      this.#dropped.delete(key);
      this.#held.delete(key);
      await engine.unload(layer, expert).catch((error: unknown) => logger.error({ err: error }, "an expert cannot be freed"));
    }
    if (due.length > 0) logger.info({ freed: due.length, residentBytes: engine.residentBytes }, "experts freed");
  }

  #absent(): ExpertKey[] {
    return [...wantedKeys(this.#placements, this.#options.self)].filter((key) => !this.#held.has(key)).sort((a, b) => a - b);
  }

  /** Only an active placement takes away; a preparing one may never become active. */
  #markDropped(): void {
    const { active } = this.#placements;
    if (active === undefined) return;
    const wanted = wantedKeys(this.#placements, this.#options.self);
    const nowMs = this.#options.clock.monotonicMs();
    for (const key of this.#held) {
      if (wanted.has(key)) this.#dropped.delete(key);
      else if (!this.#dropped.has(key)) this.#dropped.set(key, nowMs);
    }
  }

  #updateReady(): void {
    const { newest } = this.#placements;
    if (newest === undefined) return;
    const complete = [...assignedKeys(newest, this.#options.self)].every((key) => this.#held.has(key));
    if (!complete) return;
    const changed = this.#readyEpoch !== newest.epoch || this.#fault !== "";
    this.#readyEpoch = newest.epoch;
    this.#fault = "";
    if (changed) this.#options.onChange();
  }

  #setFault(fault: string): void {
    if (this.#fault === fault) return;
    this.#fault = fault;
    this.#options.onChange();
  }

  #untilNextFree(): number {
    const oldestMs = Math.min(...this.#dropped.values());
    const { clock, drainMs } = this.#options;
    return Number.isFinite(oldestMs) ? Math.max(0, oldestMs + drainMs - clock.monotonicMs()) : Number.POSITIVE_INFINITY;
  }

  /** Until the time is over or there is news. */
  async #pause(ms: number, wake: AbortSignal): Promise<void> {
    await this.#options.clock.sleep(Math.min(ms, 60_000), wake).catch(() => {});
  }

  #place(key: ExpertKey): { layer: number; expert: number } {
    const { expertsPerLayer } = this.#options;
    return { layer: Math.floor(key / expertsPerLayer), expert: key % expertsPerLayer };
  }
}
