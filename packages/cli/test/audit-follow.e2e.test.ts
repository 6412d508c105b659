import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { freePort, type RedisHandle, type ServiceHandle, spawnService, startRedis, waitUntil } from "@moiety/testing";
import { afterEach, expect, it } from "vitest";
import { moiety } from "./test-model.js";

const ADMIN_KEY = "admin-key-of-the-test";
const model = fileURLToPath(new URL("../models/moiety-tiny", import.meta.url));

let redis: RedisHandle | undefined;
let gateway: ServiceHandle | undefined;
let follower: ChildProcess | undefined;
afterEach(async () => {
  follower?.kill("SIGKILL");
  await gateway?.kill();
  await redis?.close();
});

async function startGateway(port: number): Promise<ServiceHandle> {
  const env = {
    MOIETY_MODEL: model,
    MOIETY_REDIS_URL: redis?.url ?? "",
    MOIETY_ADMIN_KEY: ADMIN_KEY,
    MOIETY_LOG_LEVEL: "warn",
    MOIETY_AUDIT_ENTRIES: "100",
    MOIETY_HTTP_PORT: String(port),
  };
  const started = await spawnService({ name: "gateway", run: { service: "gateway" }, env });
  await started.waitHealthy(30_000);
  return started;
}

it("moiety audit --follow prints each entry once, over a gateway's death, and says when some were cut off before it", async () => {
  redis = await startRedis();
  const port = await freePort();
  gateway = await startGateway(port);
  const url = `http://127.0.0.1:${port}`;
  const headers = { authorization: `Bearer ${ADMIN_KEY}` };
  const change = async (name: string) => {
    const body = JSON.stringify({ limits: { requests_per_minute: 1 } });
    const init = { method: "POST", headers: { ...headers, "content-type": "application/json" }, body };
    expect((await fetch(`${url}/admin/v1/tenants/${name}`, init)).status).toBe(200);
  };
  const env = { ...process.env, MOIETY_URL: url, MOIETY_ADMIN_KEY: ADMIN_KEY };
  let out = "";
  let err = "";
  follower = spawn(process.execPath, [moiety, "audit", "--follow", "--tenant", "-"], { env });
  follower.stdout?.on("data", (chunk) => (out += chunk));
  follower.stderr?.on("data", (chunk) => (err += chunk));
  const subjects = () =>
    out
      .split("\n")
      .slice(0, -1)
      .flatMap((line) => JSON.parse(line).subject ?? []);
  await change("one");
  await change("two");
  await waitUntil("the first entries are printed", async () => subjects().length === 2);
  expect(err).toBe("");
  await gateway.kill();
  await waitUntil("the follower has noticed", async () => err.includes("cannot reach"));
  gateway = await startGateway(port);
  await change("three");
  await waitUntil("the next is printed", async () => subjects().length === 3);
  expect(subjects()).toEqual(["one", "two", "three"]);
  expect(err).not.toContain("cut off");

  // While it stands still, more is written than the log keeps.
  follower.kill("SIGSTOP");
  for (let index = 0; index < 400; index += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, at) => change(`many-${index + at}`)));
  }
  const trimmed = async () =>
    Number(/^moiety_audit_trimmed_total\{.*reason="entries".*\} (\d+)$/m.exec((await gateway?.metrics()) ?? "")?.[1]);
  await waitUntil("the log was cut", async () => (await trimmed()) > 100);
  follower.kill("SIGCONT");
  await waitUntil("the follower says that it was", async () => err.includes("the log was cut off"));
  await waitUntil("it goes on", async () => subjects().at(-1) === "many-399" || subjects().includes("many-399"));
  expect(new Set(subjects()).size).toBe(subjects().length);
}, 120_000);
