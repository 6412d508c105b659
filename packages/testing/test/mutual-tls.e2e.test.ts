import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect as connectPlain, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { freePort, hasOpenssl, makeCertificates, startCluster } from "../src/index.js";

const model = fileURLToPath(new URL("../../cli/models/moiety-tiny", import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "moiety-mtls-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/** Whether a port says anything to a caller that speaks HTTP/2. */
function answers(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (said: boolean) => {
      socket.destroy();
      resolve(said);
    };
    socket.once("data", () => end(true));
    socket.once("error", () => end(false));
    socket.once("close", () => end(false));
    socket.write(HTTP2_PREFACE, "latin1");
  });
}

function callTls(port: number, own?: string): Promise<boolean> {
  const identity = own ? { cert: readFileSync(join(own, "tls.crt")), key: readFileSync(join(own, "tls.key")) } : {};
  return answers(connectTls({ host: "127.0.0.1", port, ALPNProtocols: ["h2"], rejectUnauthorized: false, ...identity }));
}

describe.runIf(hasOpenssl())("a cluster with certificates", () => {
  it("answers a question, and no gRPC port of it a caller without a certificate of its CA", async () => {
    const [ours, others] = [makeCertificates(join(dir, "ours")), makeCertificates(join(dir, "others"))];
    const [router, expert, attention] = [await freePort(), await freePort(), await freePort()];
    const tls = {
      MOIETY_TLS_CA: join(ours, "ca.crt"),
      MOIETY_TLS_CERT: join(ours, "tls.crt"),
      MOIETY_TLS_KEY: join(ours, "tls.key"),
      MOIETY_ROUTER_ADDRESS: `127.0.0.1:${router}`,
    };
    const at = (port: number) => ({ ...tls, MOIETY_LISTEN_ADDRESS: `127.0.0.1:${port}` });
    const cluster = await startCluster({
      model,
      expertWorkers: 1,
      env: { router: at(router), "expert-worker": at(expert), "attention-worker": at(attention) },
    });
    try {
      const messages = [{ role: "user", content: "What is 17 + 25?" }];
      const init = { method: "POST", headers: { "content-type": "application/json" } };
      const response = await fetch(`${cluster.url}/v1/chat/completions`, { ...init, body: JSON.stringify({ messages }) });
      const { choices } = (await response.json()) as {
        readonly choices: readonly { readonly message: { readonly content: string } }[];
      };
      expect(choices[0]?.message.content).toContain("42");
      for (const port of [router, expert, attention]) {
        expect(await callTls(port, ours)).toBe(true);
        expect(await callTls(port, others)).toBe(false);
        expect(await callTls(port)).toBe(false);
        expect(await answers(connectPlain(port, "127.0.0.1"))).toBe(false);
      }
    } finally {
      await cluster.close();
    }
  }, 120_000);
});
