import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { planGatewayAlone } from "../packages/cli/dist/bench/bench-cluster.js";
import { FarEnd } from "../packages/cli/dist/bench/far-end.js";
import { provideTiny } from "../packages/cli/dist/bench/model/slice.js";
import { openCheckpoint } from "../packages/model/dist/index.js";
import { STATE } from "../tools/setup/step.mjs";

const SOURCE = new URL("../packages/cli/dist/bench/gateway/token-source.js", import.meta.url);
const MODEL = "token-source";

/**
 * A gateway and a Redis, and the benchmarks' token source where attention workers would be: what the gateway bears, whatever the engine.
 *
 * @param {{ streams: number, intervalMs: number }} source `intervalMs` between the tokens of a stream; 0: as fast as Redis takes them
 */
export async function openTokenSource({ streams, intervalMs }) {
  const tell = (line) => console.error(line);
  const model = await provideTiny({ dataDir: STATE, tell });
  const { fingerprint } = await openCheckpoint(model);
  const dataDir = mkdtempSync(join(tmpdir(), "moiety-load-"));
  const cluster = await planGatewayAlone({ model, modelName: MODEL, dataDir, tell });
  const given = { redisUrl: cluster.plan.redisUrl, capacity: streams, modelFingerprint: fingerprint };
  const source = new FarEnd(SOURCE, [JSON.stringify(given)]);
  const stop = async () => {
    await source.close();
    await cluster.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  try {
    // A gateway is ready when there is a worker, and the source is that.
    await Promise.all([cluster.start(), source.next()]);
    await source.ask({ kind: "begin", intervalMs, streams });
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: cluster.url, key: "none", model: MODEL, dataDir: join(dataDir, "bench", "run"), stop };
}
