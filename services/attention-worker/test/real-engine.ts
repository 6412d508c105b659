import { fileURLToPath } from "node:url";
import { systemClock } from "@moiety/core";
import type { Activation } from "@moiety/kernels";
import { createLogger } from "@moiety/runtime";
import { Engine } from "../src/engine.js";
import type { EngineObserver } from "../src/engine-observer.js";
import { Forward } from "../src/forward/forward.js";
import { KvCache } from "../src/kv-cache/kv-cache.js";
import { kvPools } from "../src/kv-cache/kv-capacity.js";
import { openModel } from "../src/model.js";
import { openLocalExperts } from "../src/open-experts.js";

export const golden = fileURLToPath(new URL("../../../packages/testing/fixtures/golden/", import.meta.url));

export const silentObserver: EngineObserver = {
  onStep: () => {},
  onPrefixLookup: () => {},
  onLayer: () => {},
  onPassFailed: () => {},
  onResume: () => {},
  onFinish: () => {},
  onGauges: () => {},
};

export interface RealEngineOptions {
  readonly checkpoint: string;
  readonly activation: Activation;
  readonly kvTokens?: number;
  readonly pageTokens?: number;
  readonly maxSequences?: number;
  readonly stepTokens?: number;
  readonly prefillChunkTokens?: number;
  readonly lanes?: number;
  readonly observer?: Partial<EngineObserver>;
}

/** An engine on real kernels, experts in this process. */
export async function openRealEngine(options: RealEngineOptions) {
  const { kvTokens = 4096, pageTokens = 16, maxSequences = 40, stepTokens = 256, prefillChunkTokens = 128, lanes = 2 } = options;
  const pools = (slidingWindow: number) => kvPools({ tokens: kvTokens, pageTokens, slidingWindow, maxSequences, stepTokens });
  const model = await openModel({
    directory: `${golden}ckpt/${options.checkpoint}`,
    threads: 2,
    activation: options.activation,
    kv: ({ config }) => pools(config.slidingWindow),
  });
  const { pool, loaded } = openLocalExperts(model);
  await loaded;
  const { layers, vocabSize, slidingWindow } = model.checkpoint.config;
  const engine = new Engine({
    cache: new KvCache(pools(slidingWindow)),
    forward: new Forward({ attention: model.attention, experts: pool, layers }, { lanes, minRows: 4 }),
    limits: { maxSequences, stepTokens, prefillChunkTokens, contextTokens: kvTokens },
    vocabSize,
    clock: systemClock,
    logger: createLogger({ service: "attention-worker", instance: "test", level: "silent" }),
    observer: { ...silentObserver, ...options.observer },
    onCapacity: () => {},
    onBroken: (error) => {
      throw error;
    },
  });
  engine.start();
  const close = async () => {
    await engine.stop();
    engine.checkIntegrity();
    await model.close();
  };
  return { engine, close };
}
