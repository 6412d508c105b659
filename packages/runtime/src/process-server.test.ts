import { once } from "node:events";
import { connect } from "node:net";
import { Gauge } from "prom-client";
import { afterEach, describe, expect, it } from "vitest";
import { createRegistry } from "./metrics.js";
import { type LivenessProbe, type ProcessServer, type ReadinessProbe, startProcessServer } from "./process-server.js";

let server: ProcessServer | undefined;

afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function start(readiness: ReadinessProbe, liveness?: LivenessProbe): Promise<string> {
  const registry = createRegistry({ service: "test" });
  new Gauge({ name: "moiety_test", help: "A gauge", registers: [registry] }).set(7);
  server = await startProcessServer({ host: "127.0.0.1", port: 0, registry, readiness, ...(liveness && { liveness }) });
  return `http://127.0.0.1:${server.port}`;
}

describe("the HTTP side of a process", () => {
  it("is healthy before it is ready, and says what is missing", async () => {
    const missing = ["no router"];
    const url = await start(() => missing);
    expect((await fetch(`${url}/health`)).status).toBe(200);
    const response = await fetch(`${url}/ready`);
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: "not ready", missing });
    missing.pop();
    expect((await fetch(`${url}/ready`)).status).toBe(200);
  });

  it("is healthy until it is stuck, and says in what", async () => {
    const faults: string[] = [];
    const url = await start(
      () => [],
      () => faults,
    );
    expect((await fetch(`${url}/health`)).status).toBe(200);
    faults.push("kernels: one operation has computed for more than 1000 ms");
    const response = await fetch(`${url}/health`);
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: "stuck", faults });
  });

  it("is not ready when the probe itself fails, and does not tell why to everybody", async () => {
    const url = await start(() => Promise.reject(new Error("password is hunter2")));
    const response = await fetch(`${url}/ready`);
    expect(response.status).toBe(503);
    expect(await response.text()).not.toContain("hunter2");
  });

  it("shows Node's metrics and the service's own, with the constant labels", async () => {
    const response = await fetch(`${await start(() => [])}/metrics`);
    const text = await response.text();
    expect(response.headers.get("content-type")).toContain("text/plain");
    expect(text).toContain('moiety_test{service="test"} 7');
    expect(text).toContain("nodejs_eventloop_lag_seconds");
  });

  it("does not wait, when it closes, for a client that has connected and says nothing", async () => {
    const url = await start(() => []);
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    await once(socket, "connect");
    // Whoever came later is answered: the silent one has been taken in too.
    await (await fetch(`${url}/health`)).text();
    const hungUp = once(socket, "close");
    await server?.close();
    await hungUp;
  });

  it("says which address is taken", async () => {
    const port = Number(new URL(await start(() => [])).port);
    const second = startProcessServer({ host: "127.0.0.1", port, registry: createRegistry({}), readiness: () => [] });
    await expect(second).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining(`127.0.0.1:${port}`) });
  });
});
