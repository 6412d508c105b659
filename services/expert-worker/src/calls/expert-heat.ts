import type { LayerLoad } from "@moiety/proto";
import type { WaitingCall } from "./call.js";

/** Rows that each expert has executed: the load by which the router balances. */
export class ExpertHeat {
  readonly #experts: number;
  readonly #layers: Uint32Array[];
  /** Since the start, `layer * experts + expert`; f64 counts exactly up to 2^53. */
  readonly #totals: Float64Array;
  readonly #touched = new Set<number>();

  constructor(shape: { readonly layers: number; readonly experts: number }) {
    this.#experts = shape.experts;
    this.#layers = Array.from({ length: shape.layers }, () => new Uint32Array(shape.experts));
    this.#totals = new Float64Array(shape.layers * shape.experts);
  }

  add(calls: readonly WaitingCall[]): void {
    for (const { layer, pairExperts } of calls) {
      const rows = this.#layers[layer];
      if (rows === undefined) continue;
      for (const expert of pairExperts) {
        const place = layer * this.#experts + expert;
        rows[expert] = Math.min(0xffff_ffff, (rows[expert] ?? 0) + 1);
        this.#totals[place] = (this.#totals[place] ?? 0) + 1;
      }
      this.#touched.add(layer);
    }
  }

  /** Calls back for every expert that has executed rows since the start. */
  forEachTotal(visit: (layer: number, expert: number, rows: number) => void): void {
    this.#totals.forEach((rows, place) => {
      if (rows > 0) visit(Math.floor(place / this.#experts), place % this.#experts, rows);
    });
  }

  /** Hands over the counts since the last time, of the layers that have any, and starts over. */
  take(): LayerLoad[] {
    const loads = [...this.#touched].sort((a, b) => a - b).map((layer) => ({ layer, rows: [...(this.#layers[layer] ?? [])] }));
    for (const layer of this.#touched) this.#layers[layer] = new Uint32Array(this.#experts);
    this.#touched.clear();
    return loads;
  }
}
