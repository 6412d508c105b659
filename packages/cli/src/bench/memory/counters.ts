import { setTimeout as sleep } from "node:timers/promises";

/** What a gateway counts of what is under way; the same after any number of requests as before them. */
export interface Counters {
  /** API requests that the gateway is answering. */
  readonly load: number;
  /** In the queue of the cluster, by state. */
  readonly waiting: number;
  readonly active: number;
  /** Requests for which there is room. */
  readonly room: number;
}

const PATIENCE_MS = 10_000;
const EVERY_MS = 200;

/** @throws Error when the gateway does not say. */
export async function readCounters(url: string): Promise<Counters> {
  const { headers } = await fetch(`${url}/v1/models`);
  const { server_load: load } = (await (await fetch(`${url}/load`)).json()) as { server_load: number };
  const metrics = await (await fetch(`${url}/metrics`)).text();
  const queued = (state: string) =>
    Number(new RegExp(`^moiety_queue_requests\\{.*state="${state}".*\\} (\\S+)$`, "m").exec(metrics)?.[1]);
  const counters = {
    load,
    waiting: queued("waiting"),
    active: queued("active"),
    room: Number(headers.get("x-ratelimit-remaining-requests") ?? Number.NaN),
  };
  const missing = Object.entries(counters).find(([, value]) => !Number.isFinite(value));
  if (missing) throw new Error(`the gateway does not say its ${missing[0]}`);
  return counters;
}

/** What it counts once it counts what it did before, or when it has had time enough: clients' leaving takes a moment. */
export async function settledCounters(url: string, before: Counters): Promise<Counters> {
  const latestMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const now = await readCounters(url);
    if (sameCounters(before, now) || performance.now() > latestMs) return now;
    await sleep(EVERY_MS);
  }
}

export const sameCounters = (a: Counters, b: Counters): boolean =>
  a.load === b.load && a.waiting === b.waiting && a.active === b.active && a.room === b.room;
