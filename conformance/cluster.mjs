import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const MOIETY = fileURLToPath(new URL("../packages/cli/bin/moiety.js", import.meta.url));
/** The only key of a cluster that is started here. */
const KEY = "conformance-key";

/**
 * A served API to check: the one that is named, or a cluster of its own with the default model, as `npm start` has it. What is checked
 * is whatever model it lists first.
 *
 * @param {Readonly<Record<string, string>>} environment of the cluster's processes, beside this process's own
 * @param {{ url?: string, key?: string }} named by default in MOIETY_CONFORMANCE_URL and MOIETY_CONFORMANCE_KEY
 * @returns {Promise<{ url: string, key: string, model: string, dataDir?: string, stop: () => Promise<void> }>} `url` without `/v1`;
 *   `dataDir` of its own cluster
 */
export async function openSubject(environment = {}, named = namedSubject()) {
  const isOwn = named.url === undefined;
  const { url, dataDir, stop } = isOwn ? await startCluster(environment) : { url: named.url, stop: async () => {} };
  const access = { url: url.replace(/\/(v1\/?)?$/, ""), key: named.key ?? (isOwn ? KEY : "none") };
  try {
    return { ...access, model: await servedModel(access), ...(dataDir === undefined ? {} : { dataDir }), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function namedSubject() {
  const { MOIETY_CONFORMANCE_URL: url, MOIETY_CONFORMANCE_KEY: key } = process.env;
  return url === undefined ? {} : { url, key };
}

async function servedModel({ url, key }) {
  const response = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
  if (!response.ok) throw new Error(`${url}/v1/models answers ${response.status}: ${await response.text()}`);
  const { data } = await response.json();
  return data[0].id;
}

async function startCluster(environment) {
  const folder = mkdtempSync(join(tmpdir(), "moiety-conformance-"));
  const port = await freePort();
  const child = spawn(process.execPath, [MOIETY, "up", "--port", String(port), "--data-dir", folder, "--threads", "1"], {
    env: { ...process.env, MOIETY_API_KEYS: `conformance:${KEY}`, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exit = new Promise((resolve) => child.once("exit", resolve));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output = (output + chunk).slice(-10_000);
    });
  }
  const stop = async () => {
    if (child.exitCode === null && child.kill("SIGTERM")) await exit;
    rmSync(folder, { recursive: true, force: true });
  };
  let isReady = false;
  while (!isReady) {
    isReady = output.includes("Moiety is ready");
    if (child.exitCode !== null) {
      await stop();
      throw new Error(`the cluster did not start:\n${output}`);
    }
    await sleep(50);
  }
  return { url: `http://127.0.0.1:${port}`, dataDir: folder, stop };
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
