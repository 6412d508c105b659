// What `helm test` runs beside k6: calls every port of every pod. PORTS is [{"name", "port", "protocol": "http" | "grpc" | "redis"}]; a name stands for
// the addresses of all its pods. Where the processes prove to each other who they are (MUTUAL_TLS), a gRPC port must not answer a stranger.
import { lookup } from "node:dns/promises";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";

const { PORTS, MUTUAL_TLS } = process.env;
const PATIENCE_MS = 10_000;
const HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/** "answers": it says something in HTTP/2. "refuses": it hangs up first. "silent": nobody is there. */
function call(open) {
  return new Promise((resolve) => {
    let connected = false;
    const socket = open(() => {
      connected = true;
      socket.write(HTTP2_PREFACE, "latin1");
    });
    const end = (outcome) => {
      socket.destroy();
      resolve(outcome);
    };
    socket.setTimeout(PATIENCE_MS, () => end("silent"));
    socket.once("data", () => end("answers"));
    socket.once("error", () => end(connected ? "refuses" : "silent"));
    socket.once("close", () => end(connected ? "refuses" : "silent"));
  });
}

/** A Redis without a password answers PING with +PONG. */
function faultOfRedis(address) {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(address, () => socket.write("PING\r\n"));
    const end = (fault) => {
      socket.destroy();
      resolve(fault);
    };
    socket.setTimeout(PATIENCE_MS, () => end("Redis is silent"));
    socket.on("data", (data) => {
      answer += data.toString("latin1");
      if (answer.includes("\n")) end(answer === "+PONG\r\n" ? undefined : `Redis answers ${answer.trim()}`);
    });
    socket.once("error", (error) => end(error.message));
    socket.once("close", () => end("Redis hangs up"));
  });
}

async function faultOf({ protocol, port }, host) {
  if (protocol === "http") {
    const response = await fetch(`http://${host}:${port}/health`, { signal: AbortSignal.timeout(PATIENCE_MS) });
    return response.ok ? undefined : `/health answers ${response.status}`;
  }
  if (protocol === "redis") return await faultOfRedis({ host, port });
  const plain = await call((connected) => connect({ host, port }, connected));
  if (MUTUAL_TLS !== "true") return plain === "answers" ? undefined : `gRPC ${plain}`;
  const stranger = { host, port, ALPNProtocols: ["h2"], rejectUnauthorized: false };
  const withoutCertificate = await call((connected) => connectTls(stranger, connected));
  const outcomes = [plain, withoutCertificate];
  if (outcomes.includes("answers")) return "gRPC answers a caller without a certificate";
  return outcomes.includes("silent") ? "gRPC is silent" : undefined;
}

let faults = 0;
for (const target of JSON.parse(PORTS)) {
  const addresses = await lookup(target.name, { all: true }).catch(() => []);
  if (addresses.length === 0) {
    faults += 1;
    console.error(`failed: ${target.name} stands for no pod`);
  }
  for (const { address } of addresses) {
    const what = `${target.name} ${address}:${target.port} ${target.protocol}`;
    const fault = await faultOf(target, address).catch((error) => error.cause?.message ?? error.message);
    if (fault === undefined) console.log(`ok: ${what}`);
    else console.error(`failed: ${what}: ${fault}`);
    if (fault !== undefined) faults += 1;
  }
}
process.exit(faults === 0 ? 0 : 1);
