import { AppError, type WorkerId } from "@moiety/core";
import type { LayerLoad } from "@moiety/proto";
import type { ClusterIdentity } from "./membership/roster.js";

interface WorkerRows {
  readonly total: number;
  /** Rows of late: what is older counts less, by half every {@link HALF_LIFE_MS}. */
  readonly recent: number;
  readonly atMs: number;
}

export interface ReportedLoad {
  readonly loads: readonly LayerLoad[];
  readonly identity: ClusterIdentity | undefined;
  readonly nowMs: number;
}

const HALF_LIFE_MS = 15_000;

function decayed(rows: WorkerRows, nowMs: number): number {
  return rows.recent * 0.5 ** ((nowMs - rows.atMs) / HALF_LIFE_MS);
}

/** Rows that experts have executed, as the workers report them. Counts only grow while the model stays. */
export class RowCounts {
  #fingerprint = "";
  #experts = 0;
  #byExpert = new Float64Array(0);
  readonly #byWorker = new Map<WorkerId, WorkerRows>();

  /** @throws AppError INVALID_ARGUMENT when a load names a layer or expert that the model does not have. */
  add(id: WorkerId, load: ReportedLoad): void {
    const { loads, identity, nowMs } = load;
    if (identity === undefined || loads.length === 0) return;
    this.#fit(identity);
    let total = 0;
    for (const { layer, rows } of loads) {
      if (layer >= identity.layers || rows.length > identity.experts) {
        throw new AppError(
          "INVALID_ARGUMENT",
          `status: loads must be of ${identity.layers} layers and ${identity.experts} experts`,
        );
      }
      rows.forEach((count, expert) => {
        const index = layer * identity.experts + expert;
        this.#byExpert[index] = (this.#byExpert[index] ?? 0) + count;
        total += count;
      });
    }
    const before = this.#byWorker.get(id) ?? { total: 0, recent: 0, atMs: nowMs };
    this.#byWorker.set(id, { total: before.total + total, recent: decayed(before, nowMs) + total, atMs: nowMs });
  }

  /** Rows by (layer, expert), where there were any. */
  *perExpert(): Generator<{ readonly layer: number; readonly expert: number; readonly rows: number }> {
    for (const [index, rows] of this.#byExpert.entries()) {
      if (rows > 0) yield { layer: Math.floor(index / this.#experts), expert: index % this.#experts, rows };
    }
  }

  *perWorker(): Generator<{ readonly id: WorkerId; readonly rows: number }> {
    for (const [id, { total }] of this.#byWorker) yield { id, rows: total };
  }

  /** Rows of the busiest worker lately over the mean of all; 1 is perfect, and what it is without any rows. */
  imbalance(nowMs: number): number {
    const rows = [...this.#byWorker.values()].map((worker) => decayed(worker, nowMs));
    const mean = rows.reduce((sum, count) => sum + count, 0) / Math.max(1, rows.length);
    return mean < 1 ? 1 : Math.max(...rows) / mean;
  }

  /** Forgets workers that are no members any more. */
  keepOnly(ids: ReadonlySet<WorkerId>): void {
    for (const id of this.#byWorker.keys()) if (!ids.has(id)) this.#byWorker.delete(id);
  }

  #fit(identity: ClusterIdentity): void {
    if (this.#fingerprint === identity.fingerprint) return;
    this.#fingerprint = identity.fingerprint;
    this.#experts = identity.experts;
    this.#byExpert = new Float64Array(identity.layers * identity.experts);
    this.#byWorker.clear();
  }
}
