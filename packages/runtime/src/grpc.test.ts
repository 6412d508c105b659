import { spawnSync } from "node:child_process";
import { lstat, mkdtemp, rm } from "node:fs/promises";
import { createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ControlServiceClient, ControlServiceService } from "@moiety/proto";
import { describe, expect, it } from "vitest";
import { controlChannelOptions, createServer, insecureCredentials, listen } from "./grpc.js";

/** A server whose streams only end when the client ends them. */
function stubbornServer() {
  const server = createServer();
  server.addService(ControlServiceService, {
    join: (stream: { on(event: string, listener: () => void): void; write(message: unknown): void }) => {
      stream.on("data", () =>
        stream.write({ message: { $case: "welcome", value: { heartbeatIntervalMs: 1, heartbeatTimeoutMs: 2, term: 0 } } }),
      );
      stream.on("error", () => {});
    },
  });
  return server;
}

function greet(address: string) {
  const client = new ControlServiceClient(address, insecureCredentials(), controlChannelOptions);
  const stream = client.join();
  const ended = new Promise((resolve) => stream.on("error", resolve).on("end", resolve));
  const welcomed = new Promise((resolve) => stream.on("data", resolve));
  stream.write({
    message: {
      $case: "status",
      value: { readyEpoch: 0, queuedCalls: 0, runningCalls: 0, residentBytes: 0, loads: [], fault: "", draining: false },
    },
  });
  return { client, ended, welcomed };
}

describe("a gRPC server", () => {
  it("listens on any free port and serves a stream", async () => {
    const listening = await listen(stubbornServer(), "127.0.0.1:0");
    expect(listening.port).toBeGreaterThan(0);
    const { client, welcomed } = greet(`127.0.0.1:${listening.port}`);
    expect(await welcomed).toMatchObject({ message: { $case: "welcome" } });
    client.close();
    await listening.close();
  });

  it("listens on a unix socket", async () => {
    const dir = await mkdtemp(join(tmpdir(), "moiety-grpc-"));
    const address = `unix:${join(dir, "s.sock")}`;
    const listening = await listen(stubbornServer(), address);
    const { client, welcomed } = greet(address);
    expect(await welcomed).toBeDefined();
    client.close();
    await listening.close();
    await rm(dir, { recursive: true, force: true });
  });

  it("replaces a socket that a killed process left behind, and no other", async () => {
    const dir = await mkdtemp(join(tmpdir(), "moiety-grpc-"));
    const path = join(dir, "deeper", "s.sock");
    const first = await listen(stubbornServer(), `unix:${path}`);
    await expect(listen(stubbornServer(), `unix:${path}`)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await first.close();
    const program = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", program]);
    expect((await lstat(path)).isSocket()).toBe(true);
    const second = await listen(stubbornServer(), `unix:${path}`);
    const { client, welcomed } = greet(`unix:${path}`);
    expect(await welcomed).toBeDefined();
    client.close();
    await second.close();
    await rm(dir, { recursive: true, force: true });
  });

  it("closes within seconds although a stream stays open", async () => {
    const listening = await listen(stubbornServer(), "127.0.0.1:0");
    const { client, welcomed, ended } = greet(`127.0.0.1:${listening.port}`);
    await welcomed;
    const startedMs = performance.now();
    await listening.close();
    expect(performance.now() - startedMs).toBeLessThan(3_000);
    expect(await ended).toBeDefined();
    client.close();
  });

  it("says which address is taken", async () => {
    const taken = createTcpServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const address = taken.address();
    const port = typeof address === "object" ? address?.port : undefined;
    await expect(listen(createServer(), `127.0.0.1:${port}`)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining(`127.0.0.1:${port}`),
    });
    taken.close();
  });
});
