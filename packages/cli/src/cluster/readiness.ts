import { connect } from "node:net";
import type { ProcessPlan } from "./run-plan.js";

const PROBE_TIMEOUT_MS = 2_000;

/** Why a process is not ready; undefined when it is. */
export async function whyNotReady(plan: ProcessPlan, host = "127.0.0.1"): Promise<string | undefined> {
  return plan.kind === "redis" ? await askRedis(plan.readyPort) : await askHttp(host, plan.readyPort);
}

async function askHttp(host: string, port: number): Promise<string | undefined> {
  try {
    const response = await fetch(`http://${host}:${port}/ready`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    if (response.ok) return undefined;
    const body: unknown = await response.json();
    const missing = typeof body === "object" && body !== null && "missing" in body ? body.missing : undefined;
    return Array.isArray(missing) && missing.length > 0 ? missing.join("; ") : `it answers ${response.status}`;
  } catch {
    return "it does not answer yet";
  }
}

/** Redis answers `+PONG` once it has loaded its data. */
function askRedis(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: PROBE_TIMEOUT_MS });
    const settle = (reason?: string) => {
      socket.destroy();
      resolve(reason);
    };
    socket.once("connect", () => socket.write("PING\r\n"));
    socket.once("data", (data) => settle(data.toString().startsWith("+PONG") ? undefined : data.toString().trim()));
    socket.once("timeout", () => settle("it does not answer yet"));
    socket.once("error", () => settle("it does not answer yet"));
  });
}
