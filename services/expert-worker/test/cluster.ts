import { PlacementTable, parseWorkerId } from "@moiety/core";
import { modelIdentity } from "@moiety/proto";
import { createLogger } from "@moiety/runtime";
// biome-ignore lint/style/noRestrictedImports: a test of both ends of a link; the product's code meets in proto/.
import { type ExpertPoolObserver, silentObserver } from "../../attention-worker/src/experts/expert-pool-observer.js";
// biome-ignore lint/style/noRestrictedImports: see above.
import { RemoteExpertPool, type RemoteExpertPoolOptions } from "../../attention-worker/src/experts/remote-expert-pool.js";
import { type ExpertWorkerConfig, expertWorkerConfigSchema } from "../src/config.js";
import { type ExpertWorker, serveExperts } from "../src/server.js";
import { StandInEngine, standInRow } from "./stand-in-engine.js";

export const LAYERS = 3;
export const EXPERTS = 8;
export const PER_TOKEN = 2;

/** A model of a given row size, as its processes describe it. */
export function standInModel(hiddenSize = 32) {
  const config = { layers: LAYERS, hiddenSize, experts: EXPERTS, expertsPerToken: PER_TOKEN };
  return modelIdentity({ fingerprint: "f".repeat(64), config, activation: "bf16", kernelFamily: "stand-in" });
}

export interface TestWorker {
  readonly worker: ExpertWorker;
  readonly engine: StandInEngine;
}

/** Processes of one test, all in this one, on real sockets. */
export class TestCluster {
  readonly model: ReturnType<typeof standInModel>;
  readonly rowBytes: number;
  readonly events: string[] = [];
  readonly #closers: (() => Promise<void>)[] = [];
  #epoch = 0;

  constructor(hiddenSize = 32) {
    this.model = standInModel(hiddenSize);
    this.rowBytes = hiddenSize * 2;
  }

  async expert(id: string, config: Partial<ExpertWorkerConfig> = {}, model = this.model): Promise<TestWorker> {
    const engine = new StandInEngine(this.rowBytes);
    const defaults = expertWorkerConfigSchema.parse({ MOIETY_WORKER_ID: id, MOIETY_MODEL: "none" });
    const worker = await serveExperts({
      config: { ...defaults, ...config },
      source: { model, engine, expertRefs: (layer, expert) => ({ layer, expert }) as never, runningMs: () => engine.runningMs },
      logger: createLogger({ service: "expert-worker", instance: id, level: "silent" }),
      joinRouter: false,
    });
    this.#closers.push(() => worker.close());
    return { worker, engine };
  }

  async pool(options: Partial<RemoteExpertPoolOptions> = {}): Promise<RemoteExpertPool> {
    const observer: ExpertPoolObserver = {
      ...silentObserver,
      repeated: ({ reason }) => this.events.push(`repeated ${reason}`),
      timedOut: ({ abandoned }) => this.events.push(abandoned ? "timed out" : "still waiting"),
      ignored: () => this.events.push("ignored"),
      parked: () => this.events.push("parked"),
    };
    const selfId = parseWorkerId(`attention-${this.#closers.length}`);
    const pool = await RemoteExpertPool.start({ selfId, listenAddress: "127.0.0.1:0", model: this.model, observer, ...options });
    this.#closers.push(() => pool.close());
    return pool;
  }

  /** Each entry: a worker, and which experts of every layer it holds. */
  table(
    placed: readonly { readonly worker: Pick<ExpertWorker, "id" | "address">; readonly experts: readonly number[] }[],
    epoch?: number,
  ) {
    this.#epoch = epoch ?? this.#epoch + 1;
    return new PlacementTable({
      epoch: this.#epoch,
      phase: "active",
      layers: LAYERS,
      experts: EXPERTS,
      workers: placed.map(({ worker, experts }) => ({
        id: worker.id,
        address: worker.address,
        experts: Array.from({ length: LAYERS }, () => experts),
      })),
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#closers.reverse().map((close) => close()));
  }
}

export const ALL = Array.from({ length: EXPERTS }, (_, expert) => expert);

/** Random rows with distinct choices. */
export function layerCall(rows: number, rowBytes: number, layer = 1) {
  const normed = new Uint8Array(rows * rowBytes);
  for (let index = 0; index < normed.length; index += 1) normed[index] = index * 31 + rows;
  const expertIds = Uint16Array.from(
    { length: rows * PER_TOKEN },
    (_, slot) => (Math.floor(slot / PER_TOKEN) * 3 + slot * 5) % EXPERTS,
  );
  return { layer, rows, normed, expertIds };
}

/** What every slot of a call should hold. */
export function expectedRows(call: ReturnType<typeof layerCall>, rowBytes: number): Uint8Array[] {
  return Array.from(call.expertIds, (expert, slot) => {
    const row = Math.floor(slot / PER_TOKEN);
    return standInRow(call.normed.subarray(row * rowBytes, (row + 1) * rowBytes), call.layer, expert);
  });
}

/** The rows of a result by slot; throws when a slot is missing or twice there. */
export function rowsBySlot(
  result: { parts: readonly { rows: Uint8Array; slots: Uint32Array }[] },
  rowBytes: number,
): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const { rows, slots } of result.parts) {
    slots.forEach((slot, index) => {
      if (found[slot] !== undefined) throw new Error(`slot ${slot} came twice`);
      found[slot] = Uint8Array.from(rows.subarray(index * rowBytes, (index + 1) * rowBytes));
    });
  }
  return found;
}

export async function until(condition: () => boolean, timeoutMs = 10_000): Promise<void> {
  const endMs = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > endMs) throw new Error(`not true after ${timeoutMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
