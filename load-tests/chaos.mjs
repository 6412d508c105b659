import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { whyNotReady } from "../packages/cli/dist/cluster/readiness.js";
import { clusterProcesses } from "./cluster-processes.mjs";

/** Streams that have to be under way before a process is killed. */
const STREAMS = 4;
const BETWEEN_MS = 2_000;
const POLL_MS = 50;
/** First what no client may notice, last the gateway that it holds on to. */
const ORDER = ["expert-worker", "attention-worker", "router", "redis", "gateway"];

/** Kills one process of a cluster after another, each when the one before is ready again, until the signal. */
export class Chaos {
  #subject;
  #signal;
  #kills = [];
  #unkilled;

  constructor(subject, signal) {
    this.#subject = subject;
    this.#signal = signal;
    this.#unkilled = new Set(this.#processes().map(({ name }) => name));
  }

  async run() {
    for (;;) {
      for (const { name } of this.#processes()) {
        await this.#until(() => this.#areStreamsRunning());
        await this.#until(async () => false, BETWEEN_MS);
        if (this.#signal.aborted) return;
        await this.#kill(name);
      }
    }
  }

  /** A section of the summary. */
  report() {
    const rows = this.#kills.map(
      ({ name, afterMs }) => `| ${name} | ${afterMs === undefined ? "not before the end" : Math.round(afterMs)} |`,
    );
    return `\n## Killed (SIGKILL), in this order\n\n| process | ready again after, ms |\n| --- | --- |\n${rows.join("\n")}\n`;
  }

  /** What k6 cannot see: whether every process was killed, and whether more streams were cut than gateways were killed. */
  faults(summaryPath) {
    const { metrics } = JSON.parse(readFileSync(summaryPath, "utf8"));
    const cut = metrics.moiety_streams_cut?.values.count ?? 0;
    const gateways = this.#kills.filter(({ kind }) => kind === "gateway").length;
    const most = gateways * metrics.vus_max.values.max;
    const faults = [];
    if (this.#unkilled.size > 0)
      faults.push(`${[...this.#unkilled].join(", ")} could not be killed in time: use a longer --duration`);
    if (cut > most) faults.push(`${cut} streams were cut, and the ${gateways} deaths of a gateway explain ${most} at most`);
    return faults;
  }

  #processes() {
    return clusterProcesses(this.#subject.dataDir).toSorted((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
  }

  async #kill(name) {
    const victim = this.#processes().find((process) => process.name === name);
    process.kill(victim.pid, "SIGKILL");
    const atMs = performance.now();
    console.log(`load: killed ${name}`);
    const record = { name, kind: victim.kind, afterMs: undefined };
    this.#kills.push(record);
    this.#unkilled.delete(name);
    await this.#until(async () => {
      const now = this.#processes().find((process) => process.name === name);
      return now.pid !== victim.pid && (await whyNotReady(now)) === undefined;
    });
    if (!this.#signal.aborted) record.afterMs = performance.now() - atMs;
  }

  async #areStreamsRunning() {
    try {
      const response = await fetch(`${this.#subject.url}/load`);
      return (await response.json()).server_load >= STREAMS;
    } catch {
      // The gateway is on its way back.
      return false;
    }
  }

  /** Until it holds, the time is over, or the run has ended. */
  async #until(holds, limitMs = Number.POSITIVE_INFINITY) {
    const deadlineMs = performance.now() + limitMs;
    while (!this.#signal.aborted && performance.now() < deadlineMs && !(await holds())) await sleep(POLL_MS);
  }
}
