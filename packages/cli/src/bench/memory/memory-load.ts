import { Agent, type IncomingMessage, request } from "node:http";
import type { MixedRequest } from "./request-mix.js";

export interface MemoryLoadOptions {
  readonly url: string;
  readonly requests: number;
  /** Under way at any moment. */
  readonly concurrency: number;
  readonly make: (index: number) => MixedRequest;
  /** After each request, with how many have ended; the next ones wait for it. */
  readonly ended: (count: number) => Promise<void> | undefined;
}

export interface MemoryLoad {
  readonly byKind: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
}

const REQUEST_TIMEOUT_MS = 60_000;
const MAX_FAULTS = 100;

/** Sends requests, so many at a time, to their ends. Never rejects but with `ended`. */
export async function runMemoryLoad(options: MemoryLoadOptions): Promise<MemoryLoad> {
  const { url, requests, concurrency, make, ended } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  const byKind: Record<string, number> = {};
  const faults: string[] = [];
  let next = 0;
  let done = 0;
  const work = async () => {
    while (next < requests) {
      const mixed = make(next);
      next += 1;
      const fault = await send(url, mixed, agent);
      byKind[mixed.kind] = (byKind[mixed.kind] ?? 0) + 1;
      if (fault !== undefined && faults.length < MAX_FAULTS) faults.push(`${mixed.kind}: ${fault}`);
      done += 1;
      await ended(done);
    }
  };
  try {
    await Promise.all(Array.from({ length: concurrency }, work));
  } finally {
    agent.destroy();
  }
  return { byKind, faults };
}

/** What went wrong, if anything. */
function send(url: string, { path, body, status, leaves }: MixedRequest, agent: Agent): Promise<string | undefined> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const method = text === undefined ? "GET" : "POST";
  const headers = text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  return new Promise((resolve) => {
    const call = request(url + path, { method, agent, headers, timeout: REQUEST_TIMEOUT_MS });
    call.once("error", (error) => resolve(error.message));
    call.once("timeout", () => call.destroy(new Error("timed out")));
    call.once("response", (response) => {
      const fault = response.statusCode === status ? undefined : `status ${response.statusCode}`;
      if (leaves) leaveAtFirstByte(response, () => resolve(fault));
      else {
        response.resume();
        response.once("end", () => resolve(fault));
        response.once("error", (error) => resolve(error.message));
      }
    });
    call.end(text);
  });
}

function leaveAtFirstByte(response: IncomingMessage, left: () => void): void {
  response.on("error", () => undefined);
  response.once("close", left);
  response.once("data", () => response.destroy());
}
