import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort, startRedis } from "@moiety/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const SCRIPT = fileURLToPath(new URL("../moiety/files/tests/ports.mjs", import.meta.url));
const DNS = new URL("layout/cluster-dns.mjs", import.meta.url).href;
const NAME = "demo-moiety-things";

describe("the script of `helm test` that calls ports", { timeout: 60_000 }, () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "moiety-ports-"));
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs it on one port of a name that stands for these addresses. */
  async function call(target: { readonly port: number; readonly protocol: string }, addresses: readonly string[]) {
    const hosts = join(folder, "hosts.json");
    writeFileSync(hosts, JSON.stringify({ [NAME]: addresses }));
    const env = {
      NODE_OPTIONS: `--import=${DNS}`,
      CLUSTER_HOSTS: hosts,
      PORTS: JSON.stringify([{ name: NAME, ...target }]),
      MUTUAL_TLS: "false",
    };
    const child = spawn(process.execPath, [SCRIPT], { env });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
    const [code] = (await once(child, "close")) as [number];
    return { code, text };
  }

  // Of the loopback addresses all belong to Linux alone.
  it.runIf(process.platform === "linux")("calls every pod that a name stands for, and says which one fails", async () => {
    let broken = "";
    const servers = ["127.0.0.2", "127.0.0.3"].map((address) => ({
      address,
      server: createServer((request, response) => {
        response.writeHead(request.url === "/health" && address !== broken ? 200 : 503).end();
      }),
    }));
    try {
      let port = 0;
      for (const { address, server } of servers) {
        await once(server.listen(port, address), "listening");
        port = (server.address() as AddressInfo).port;
      }
      const addresses = servers.map(({ address }) => address);
      const target = { port, protocol: "http" };
      expect(await call(target, addresses)).toEqual({
        code: 0,
        text: addresses.map((address) => `ok: ${NAME} ${address}:${port} http\n`).join(""),
      });
      broken = "127.0.0.3";
      const { code, text } = await call(target, addresses);
      expect([code, text]).toEqual([
        1,
        expect.stringMatching(/^ok: .* 127\.0\.0\.2:[\s\S]*failed: .* 127\.0\.0\.3:.*answers 503/m),
      ]);
      expect(await call(target, [])).toMatchObject({ code: 1, text: expect.stringContaining("stands for no pod") });
    } finally {
      for (const { server } of servers) server.close();
    }
  });

  it("takes a Redis that answers PING, and no other", async () => {
    const redis = await startRedis();
    const target = { port: redis.port, protocol: "redis" };
    try {
      expect(await call(target, ["127.0.0.1"])).toEqual({ code: 0, text: `ok: ${NAME} 127.0.0.1:${redis.port} redis\n` });
      const socket = connect(redis.port, "127.0.0.1", () => socket.end("CONFIG SET requirepass secret\r\n"));
      await once(socket.resume(), "close");
      expect(await call(target, ["127.0.0.1"])).toMatchObject({
        code: 1,
        text: expect.stringContaining("Redis answers -NOAUTH"),
      });
    } finally {
      await redis.close();
    }
    const nobody = { port: await freePort(), protocol: "redis" };
    expect(await call(nobody, ["127.0.0.1"])).toMatchObject({ code: 1, text: expect.stringContaining("ECONNREFUSED") });
  });
});
