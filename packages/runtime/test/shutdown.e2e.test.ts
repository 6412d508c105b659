import { fileURLToPath } from "node:url";
import { ManagedProcess, waitUntil } from "@moiety/testing";
import { afterEach, describe, expect, it } from "vitest";

const entry = fileURLToPath(new URL("shutdown-process.mjs", import.meta.url));
let child: ManagedProcess | undefined;

afterEach(() => child?.kill());

interface Behaviour {
  readonly drainMs?: number;
  readonly drainTimeoutMs?: number;
  readonly drainFails?: boolean;
  readonly unhandled?: boolean;
}

async function start(behaviour: Behaviour): Promise<ManagedProcess> {
  const args = [entry, JSON.stringify({ drainMs: 100, drainTimeoutMs: 5_000, ...behaviour })];
  const started = new ManagedProcess({ name: "process", file: process.execPath, args, env: {} });
  child = started;
  started.start();
  await logged(started, "started");
  return started;
}

async function logged(running: ManagedProcess, message: string): Promise<void> {
  await waitUntil(`it logs ${message}`, () => running.output.text().includes(`"msg":"${message}"`), {
    describe: () => running.describe(),
  });
}

describe("a process that is told to stop", () => {
  it.each(["SIGTERM", "SIGINT"] as const)("drains on %s and exits with 0", async (signal) => {
    const running = await start({});
    running.signal(signal);
    expect(await running.waitForExit()).toEqual({ code: 0, signal: undefined });
    await logged(running, "stopped");
  });

  it("gives up after the drain timeout and exits with 1", async () => {
    const running = await start({ drainMs: 60_000, drainTimeoutMs: 200 });
    running.signal("SIGTERM");
    expect(await running.waitForExit()).toEqual({ code: 1, signal: undefined });
    expect(running.output.text()).toContain("the drain took too long");
  });

  it("exits with 1 when the drain fails", async () => {
    const running = await start({ drainFails: true });
    running.signal("SIGTERM");
    expect(await running.waitForExit()).toEqual({ code: 1, signal: undefined });
  });

  it("exits at once on a second signal", async () => {
    const running = await start({ drainMs: 60_000, drainTimeoutMs: 60_000 });
    running.signal("SIGTERM");
    await logged(running, "draining");
    running.signal("SIGTERM");
    expect(await running.waitForExit()).toEqual({ code: 1, signal: undefined });
  });

  it("logs an error that nobody handles and exits with 1", async () => {
    const running = await start({ unhandled: true });
    expect(await running.waitForExit()).toEqual({ code: 1, signal: undefined });
    await logged(running, "uncaught error");
  });
});
