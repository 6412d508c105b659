import { AppError, invariant } from "@moiety/core";
import type { ExpertEngine } from "@moiety/kernels";
import type { ExpertPool, LayerCall, LayerResult } from "./expert-pool.js";

export interface LocalExpertPoolOptions {
  /** Holds, or is about to hold, every expert of every layer. Closed by whoever opened it. */
  readonly engine: ExpertEngine;
  readonly layers: number;
  readonly experts: number;
  readonly expertsPerToken: number;
  /** Bytes of one row of activations. */
  readonly rowBytes: number;
}

/** Experts in this process: the same results as {@link ExpertPool}'s other implementations, without the hop. */
export class LocalExpertPool implements ExpertPool {
  readonly #options: LocalExpertPoolOptions;
  #closed = false;

  constructor(options: LocalExpertPoolOptions) {
    this.#options = options;
  }

  async run(call: LayerCall, signal: AbortSignal): Promise<LayerResult> {
    const { engine, rowBytes, expertsPerToken } = this.#options;
    const pairCount = call.rows * expertsPerToken;
    invariant(call.normed.length === call.rows * rowBytes, "normed holds one row of activations per row");
    invariant(call.expertIds.length === pairCount, "expertIds holds one id per row and choice");
    this.#stopIf(signal);
    const startMs = performance.now();
    const rows = Buffer.allocUnsafeSlow(pairCount * rowBytes);
    const slots = Uint32Array.from({ length: pairCount }, (_, slot) => slot);
    const expertCall = {
      layer: call.layer,
      inputs: [Uint8Array.from(call.normed)],
      pairs: {
        input: new Uint16Array(pairCount),
        row: slots.map((slot) => Math.floor(slot / expertsPerToken)),
        expert: Uint16Array.from(call.expertIds),
      },
      outputs: [rows],
    };
    const encodedMs = performance.now();
    await engine.run(expertCall);
    this.#stopIf(signal);
    call.trace
      ?.child("experts", { startMs: encodedMs, attributes: { "moiety.layer": call.layer, "moiety.pairs": pairCount } })
      .end();
    const timings = {
      encodeUs: (encodedMs - startMs) * 1_000,
      networkUs: 0,
      queueUs: 0,
      computeUs: (performance.now() - encodedMs) * 1_000,
    };
    return { parts: [{ rows, slots }], timings, fanOut: 1 };
  }

  missing(): readonly string[] {
    if (this.#closed) return ["experts: the pool is closed"];
    const { engine, layers, experts } = this.#options;
    let absent = 0;
    for (let layer = 0; layer < layers; layer += 1) {
      for (let expert = 0; expert < experts; expert += 1) if (!engine.holds(layer, expert)) absent += 1;
    }
    return absent === 0 ? [] : [`experts: ${absent} of ${layers * experts} are not loaded yet`];
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #stopIf(signal: AbortSignal): void {
    if (signal.aborted || this.#closed) throw new AppError("CANCELLED", "the layer's call was cancelled");
  }
}
