import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { AppError, type Clock, systemClock } from "@moiety/core";
import { backOffMs, countFailures } from "./back-off.js";
import { endedError, ManagedProcess } from "./managed-process.js";
import { whyNotReady } from "./readiness.js";
import { type Run, removeRun, writeRun } from "./run-file.js";
import { type ClusterPlan, type ProcessPlan, STOP_ORDER } from "./run-plan.js";

const POLL_MS = 50;
/** How often to say what a start still waits for. */
const PATIENCE_MS = 10_000;
/** Beyond its drain timeout, for a process to end by itself. */
const STOP_GRACE_MS = 5_000;
/**
 * For an expert worker: it would wait for others to take over its experts, but when the cluster stops nobody calls it any more, and it
 * has nothing to lose.
 */
const EXPERT_STOP_MS = 300;

export interface ClusterSettings {
  readonly plan: ClusterPlan;
  /** Of the API, for run.json. */
  readonly url: string;
  /** The program that is followed by `serve <service>`. */
  readonly moiety: readonly [string, ...string[]];
  readonly redisServer?: string;
  readonly dataDir: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly drainTimeoutMs: number;
  /** Tells the user one line. */
  readonly tell: (line: string) => void;
  readonly clock?: Clock;
}

/** The processes of one cluster: started together, started again when they die, stopped in order. */
export class Cluster {
  private readonly settings: ClusterSettings;
  private readonly clock: Clock;
  private readonly running = new Map<string, ManagedProcess>();
  private readonly stopping = new AbortController();
  private readonly startedAt = new Date().toISOString();

  constructor(settings: ClusterSettings) {
    this.settings = settings;
    this.clock = settings.clock ?? systemClock;
  }

  /** Starts every process and waits until all are ready. @throws AppError when one ends before it was; all others are stopped then. */
  async start(): Promise<void> {
    const { plan, dataDir } = this.settings;
    mkdirSync(this.logDir, { recursive: true });
    mkdirSync(join(dataDir, "redis-data"), { recursive: true });
    for (const each of [...(plan.redis === undefined ? [] : [plan.redis]), ...plan.services]) this.setAsideLog(each);
    try {
      if (plan.redis !== undefined) await this.launchAndWait(plan.redis);
      await Promise.all(plan.services.map((service) => this.launchAndWait(service)));
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Stops every process in order; each may finish its work first. */
  async stop(): Promise<void> {
    this.stopping.abort(new AppError("CANCELLED", "stopped"));
    for (const kind of STOP_ORDER) {
      const group = [...this.running.values()].filter((process) => process.plan.kind === kind && process.running);
      for (const process of group) process.kill("SIGTERM");
      await Promise.all(group.map((process) => this.waitForEnd(process)));
    }
    removeRun(this.settings.dataDir);
  }

  /** Ends every process at once. */
  kill(): void {
    for (const process of this.running.values()) process.kill("SIGKILL");
  }

  get logDir(): string {
    return join(this.settings.dataDir, "logs");
  }

  private async launchAndWait(plan: ProcessPlan): Promise<void> {
    const process = this.launch(plan);
    const ready = await this.waitUntilReady(process, (why) => this.settings.tell(`  waiting for ${plan.name}: ${why}`));
    if (!ready) {
      this.stopping.signal.throwIfAborted();
      throw endedError(plan.name, await process.ended, this.logOf(plan));
    }
    this.settings.tell(`  ${plan.name} is ready (${secondsSince(process.startedMs)} s)`);
    void this.keepAlive(process);
  }

  private launch(plan: ProcessPlan): ManagedProcess {
    this.stopping.signal.throwIfAborted();
    const { moiety, redisServer, environment } = this.settings;
    const command: readonly [string, ...string[]] = plan.kind === "redis" ? [redisServer ?? "redis-server"] : moiety;
    const process = new ManagedProcess({ plan, command, environment, log: this.logOf(plan) });
    this.running.set(plan.name, process);
    this.record();
    return process;
  }

  /** False when the process ended first, or the cluster is being stopped. */
  private async waitUntilReady(process: ManagedProcess, onPatience: (why: string) => void): Promise<boolean> {
    let toldMs = this.clock.monotonicMs();
    while (process.running && !this.stopping.signal.aborted) {
      const why = await whyNotReady(process.plan, process.plan.environment["MOIETY_HTTP_HOST"]);
      if (why === undefined) return true;
      if (this.clock.monotonicMs() - toldMs >= PATIENCE_MS) {
        onPatience(why);
        toldMs = this.clock.monotonicMs();
      }
      await this.clock.sleep(POLL_MS);
    }
    return false;
  }

  /** Starts a process again for as long as the cluster runs. */
  private async keepAlive(first: ManagedProcess): Promise<void> {
    const { tell } = this.settings;
    let process = first;
    let failures = 0;
    for (;;) {
      const { how } = await process.ended;
      if (this.stopping.signal.aborted) return;
      failures = countFailures(failures, this.clock.monotonicMs() - process.startedMs);
      const waitMs = backOffMs(failures);
      tell(`${process.plan.name} ended unexpectedly (${how}); starting it again in ${waitMs / 1000} s`);
      try {
        await this.clock.sleep(waitMs, this.stopping.signal);
      } catch {
        return;
      }
      process = this.launch(first.plan);
      void this.tellWhenReady(process);
    }
  }

  private async tellWhenReady(process: ManagedProcess): Promise<void> {
    const ready = await this.waitUntilReady(process, (why) => this.settings.tell(`${process.plan.name} is not ready: ${why}`));
    if (ready) this.settings.tell(`${process.plan.name} is ready again (${secondsSince(process.startedMs)} s)`);
  }

  private async waitForEnd(process: ManagedProcess): Promise<void> {
    const { drainTimeoutMs, tell } = this.settings;
    const expendable = process.plan.kind === "expert-worker";
    const patience = new AbortController();
    const overdue = this.clock.sleep(expendable ? EXPERT_STOP_MS : drainTimeoutMs + STOP_GRACE_MS, patience.signal).then(
      () => {
        if (!expendable) tell(`${process.plan.name} did not stop in time; it is ended now`);
        process.kill("SIGKILL");
      },
      () => undefined,
    );
    await process.ended;
    patience.abort();
    await overdue;
  }

  private logOf(plan: ProcessPlan): string {
    return join(this.logDir, `${plan.name}.log`);
  }

  /** A run begins with empty logs; those of the run before are kept, as NAME.previous.log. */
  private setAsideLog(plan: ProcessPlan): void {
    const log = this.logOf(plan);
    if (existsSync(log)) renameSync(log, join(this.logDir, `${plan.name}.previous.log`));
  }

  private record(): void {
    const { dataDir, url, plan } = this.settings;
    const processes: Run["processes"] = [...this.running.values()].flatMap((managed) => {
      if (managed.pid === undefined) return [];
      const { name, kind, readyPort } = managed.plan;
      return [{ name, kind, pid: managed.pid, readyPort, log: this.logOf(managed.plan) }];
    });
    writeRun(dataDir, { pid: process.pid, startedAt: this.startedAt, url, redisUrl: plan.redisUrl, processes });
  }
}

function secondsSince(startedMs: number): string {
  return ((performance.now() - startedMs) / 1000).toFixed(1);
}
