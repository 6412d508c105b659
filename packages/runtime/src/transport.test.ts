import { mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChannelCredentials } from "@grpc/grpc-js";
import { ControlServiceClient, ControlServiceService } from "@moiety/proto";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasOpenssl, makeCertificates } from "../../testing/src/processes/certificates.js";
import { createServer, insecureCredentials, listen } from "./grpc.js";
import { openTransport, type Transport } from "./transport.js";

const logger = pino({ level: "silent" });
const dir = mkdtempSync(join(tmpdir(), "moiety-tls-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function configOf(folder: string) {
  return {
    MOIETY_LISTEN_ADDRESS: "127.0.0.1:0",
    MOIETY_TLS_CA: join(folder, "ca.crt"),
    MOIETY_TLS_CERT: join(folder, "tls.crt"),
    MOIETY_TLS_KEY: join(folder, "tls.key"),
  };
}

const open = (folder: string, registry = new Registry()) =>
  openTransport({ config: configOf(folder), logger, registry, pollIntervalMs: 20 });

async function serve(transport: Transport) {
  const server = createServer();
  server.addService(ControlServiceService, {
    join: (stream: { on(event: string, listener: () => void): void; write(message: unknown): void }) => {
      const welcome = { message: { $case: "welcome", value: { heartbeatIntervalMs: 1, heartbeatTimeoutMs: 2, term: 0 } } };
      stream.on("data", () => stream.write(welcome));
      stream.on("error", () => {});
    },
  });
  return listen(server, "127.0.0.1:0", transport);
}

const STATUS = { readyEpoch: 0, queuedCalls: 0, runningCalls: 0, residentBytes: 0, loads: [], fault: "", draining: false };

function connect(port: number, credentials: ChannelCredentials) {
  const client = new ControlServiceClient(`127.0.0.1:${port}`, credentials);
  const stream = client.join();
  const ask = () =>
    new Promise<"answered" | "refused">((resolve) => {
      stream.once("data", () => resolve("answered"));
      stream.once("error", () => resolve("refused"));
      stream.write({ message: { $case: "status", value: STATUS } });
    });
  const close = () => {
    stream.on("error", () => {});
    stream.cancel();
    client.close();
  };
  return { ask, close };
}

async function askOnce(port: number, credentials: ChannelCredentials) {
  const connection = connect(port, credentials);
  const outcome = await connection.ask();
  connection.close();
  return outcome;
}

describe.runIf(hasOpenssl())("mutual TLS", () => {
  let ours: string;
  let others: string;

  beforeAll(() => {
    ours = makeCertificates(join(dir, "ours"));
    others = makeCertificates(join(dir, "others"));
  }, 60_000);

  it("answers a client of the same CA alone", async () => {
    const transport = await open(ours);
    const stranger = await open(others);
    const { port, close } = await serve(transport);
    expect(await askOnce(port, transport.clientCredentials())).toBe("answered");
    expect(await askOnce(port, insecureCredentials())).toBe("refused");
    expect(await askOnce(port, stranger.clientCredentials())).toBe("refused");
    await close();
    transport.close();
    stranger.close();
  }, 60_000);

  it("takes new certificates by a swapped link while open streams live on", async () => {
    const link = join(dir, "current");
    symlinkSync(ours, link);
    const transport = await open(link);
    const [before, after] = [await open(ours), await open(others)];
    const { port, close } = await serve(transport);
    const kept = connect(port, transport.clientCredentials());
    expect(await kept.ask()).toBe("answered");
    symlinkSync(others, join(dir, "next"));
    renameSync(join(dir, "next"), link);
    await expect.poll(() => askOnce(port, after.clientCredentials()), { timeout: 20_000 }).toBe("answered");
    expect(await askOnce(port, before.clientCredentials())).toBe("refused");
    expect(await kept.ask()).toBe("answered");
    kept.close();
    await close();
    for (const opened of [transport, before, after]) opened.close();
  }, 60_000);

  it("tells when the certificate expires", async () => {
    const registry = new Registry();
    (await open(ours, registry)).close();
    const [line] = (await registry.metrics()).match(/^moiety_tls_certificate_expiry_seconds .*$/m) ?? [];
    const days = (Number(line?.split(" ")[1]) * 1_000 - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(6.9);
    expect(days).toBeLessThan(7.1);
  });

  it("refuses a part of the files, and a key that is not the certificate's", async () => {
    const { MOIETY_TLS_KEY, ...partly } = configOf(ours);
    const options = { logger, registry: new Registry() };
    await expect(openTransport({ config: partly, ...options })).rejects.toThrow(/^MOIETY_TLS_KEY: expected all of/);
    const mixed = { ...partly, MOIETY_TLS_KEY: configOf(others).MOIETY_TLS_KEY };
    await expect(openTransport({ config: mixed, ...options })).rejects.toThrow(/is not the key of the certificate/);
    expect(MOIETY_TLS_KEY).toBeDefined();
  });
});
