import { AppError, type WorkerId } from "@moiety/core";
import type { LayerLoad } from "@moiety/proto";
import type { ClusterIdentity } from "./membership/roster.js";

/** Rows that experts have executed, as the workers report them. Counts only grow while the model stays. */
export class RowCounts {
  #fingerprint = "";
  #experts = 0;
  #byExpert = new Float64Array(0);
  readonly #byWorker = new Map<WorkerId, number>();

  /** @throws AppError INVALID_ARGUMENT when a load names a layer or expert that the model does not have. */
  add(id: WorkerId, loads: readonly LayerLoad[], identity: ClusterIdentity | undefined): void {
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
    this.#byWorker.set(id, (this.#byWorker.get(id) ?? 0) + total);
  }

  /** Rows by (layer, expert), where there were any. */
  *perExpert(): Generator<{ readonly layer: number; readonly expert: number; readonly rows: number }> {
    for (const [index, rows] of this.#byExpert.entries()) {
      if (rows > 0) yield { layer: Math.floor(index / this.#experts), expert: index % this.#experts, rows };
    }
  }

  perWorker(): ReadonlyMap<WorkerId, number> {
    return this.#byWorker;
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
