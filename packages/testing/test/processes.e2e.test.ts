import { spawn } from "node:child_process";
import { createConnection } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { ManagedProcess, type RedisHandle, type ServiceHandle, spawnService, startRedis, waitUntil } from "../src/index.js";

const entry = fileURLToPath(new URL("sample-service.mjs", import.meta.url));
const open: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((close) => close()));
});

async function sample(env: Record<string, string> = {}): Promise<ServiceHandle> {
  const service = await spawnService({ name: "sample", run: { entry }, env });
  open.push(() => service.kill());
  return service;
}

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe("a spawned service", () => {
  it("is waited for until it is ready, killed, and started again on the same port", async () => {
    const service = await sample({ READY_AFTER_MS: "300" });
    await service.waitHealthy();
    expect(await service.isReady()).toBe(false);
    await service.waitReady();
    const { pid } = service.process;
    await service.kill();
    expect(service.process.exit).toEqual({ code: undefined, signal: "SIGKILL" });
    expect(await service.isReady()).toBe(false);
    await service.restart();
    await service.waitReady();
    expect(service.process.pid).not.toBe(pid);
  });

  it("is silent while frozen and answers once thawed", async () => {
    const service = await sample();
    await service.waitReady();
    service.freeze();
    expect(await service.isReady()).toBe(false);
    service.thaw();
    await service.waitReady();
  });

  it("ends on SIGTERM with its own exit code", async () => {
    const service = await sample();
    await service.waitReady();
    expect(await service.terminate()).toEqual({ code: 0, signal: undefined });
  });

  it("that ends at once fails the wait early, with its output", async () => {
    const service = await sample({ FAIL: "1" });
    await expect(service.waitReady(15_000)).rejects.toThrow(/gave up[\s\S]*code 3[\s\S]*cannot start on purpose/);
  });

  it("that does not exist fails the wait early", async () => {
    const missing = new ManagedProcess({ name: "missing", file: "/nowhere/nothing", args: [], env: {} });
    missing.start();
    await missing.waitForExit();
    expect(missing.describe()).toMatch(/cannot be started/);
  });
});

describe("a child of a runner that was killed", () => {
  const orphanRunner = fileURLToPath(new URL("orphan-runner.mjs", import.meta.url));

  it("is killed too", async () => {
    const runner = spawn(process.execPath, [orphanRunner], { stdio: ["ignore", "pipe", "inherit"] });
    open.push(async () => runner.kill("SIGKILL"));
    const pid = await new Promise<number>((resolve) =>
      runner.stdout.setEncoding("utf8").once("data", (text) => resolve(Number(text))),
    );
    expect(isAlive(pid)).toBe(true);
    runner.kill("SIGKILL");
    await waitUntil("the child is gone", () => !isAlive(pid), { timeoutMs: 5_000 });
  });
});

describe("a redis", () => {
  const command = (redis: RedisHandle, text: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = createConnection(redis.port, "127.0.0.1", () => socket.write(`${text}\r\n`));
      socket.setEncoding("utf8").once("data", (answer: string) => {
        socket.destroy();
        resolve(answer.trim());
      });
      socket.once("error", reject);
    });

  it("keeps what it acknowledged over kill -9 and a restart on the same port", async () => {
    const redis = await startRedis({ fsync: "always" });
    open.push(() => redis.close());
    expect(await command(redis, "SET key value")).toBe("+OK");
    await redis.kill();
    await expect(command(redis, "PING")).rejects.toThrow();
    await redis.restart();
    expect(await command(redis, "GET key")).toContain("value");
  });
});
