import { readFileSync } from "node:fs";
import { clusterProcesses } from "./cluster-processes.mjs";

const EVERY_MS = 1_000;

/** Watches the resident memory of a cluster's processes, by name, over restarts. On systems without /proc it sees none. */
export class MemoryWatch {
  #dataDir;
  #timer;
  #seen = new Map();

  constructor(dataDir) {
    this.#dataDir = dataDir;
    this.#look();
    this.#timer = setInterval(() => this.#look(), EVERY_MS);
  }

  /** Looks once more, and gives a section of the summary. */
  stop() {
    clearInterval(this.#timer);
    this.#look();
    const rows = [...this.#seen].map(([name, { first, most, last }]) => `| ${name} | ${[first, most, last].join(" | ")} |`);
    return `\n## Memory of the cluster (MiB resident)\n\n| process | before | most | after |\n| --- | --- | --- | --- |\n${rows.join("\n")}\n`;
  }

  #look() {
    for (const { name, pid } of clusterProcesses(this.#dataDir)) {
      const mib = residentMib(pid);
      if (mib === undefined) continue;
      const { first, most } = this.#seen.get(name) ?? { first: mib, most: mib };
      this.#seen.set(name, { first, most: Math.max(most, mib), last: mib });
    }
  }
}

function residentMib(pid) {
  try {
    const found = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return found === null ? undefined : Math.round(Number(found[1]) / 1_024);
  } catch {
    // It is just being started again, or there is no /proc.
    return undefined;
  }
}
