import type { Fleet } from "./fleet.js";
import type { PlanShape } from "./plan-shape.js";
import { layerShares, workersCalled } from "./routing.js";

/**
 * A call to a second, third, ... worker costs this share of the first one's constant: they are sent by one event loop, but travel
 * and wait together. A prototype's steps with two shards took 125 to 139 us (1 row), 186 (8) and 833 (64) per layer, where one hop
 * takes 65 us + 0.5 us per KB: the second call added about half of a constant to those of 8 and 64 rows.
 */
const FURTHER_CALL_SHARE = 0.5;

/** Bytes of rows; messages' heads and lists of pairs are below 1% of them. */
export interface LinkBytes {
  /** From an attention worker: every row once to each worker that holds one of its experts. */
  readonly out: number;
  /** Back: one row per (row, expert) pair, however many workers there are, so that the sharding cannot show in the last bit. */
  readonly back: number;
}

/** What a token, on average, puts on each expert worker's link in all layers. */
export function linkBytesPerToken(shape: PlanShape, expertWorkers: number): readonly LinkBytes[] {
  return layerShares(shape.experts, expertWorkers).map((held) => ({
    out: shape.layers * workersCalled(shape, [held], 1) * shape.rowBytes,
    back: shape.layers * ((shape.expertsPerToken * held) / shape.experts) * shape.rowBytes,
  }));
}

/** All links together. */
export function totalBytes(links: readonly LinkBytes[]): LinkBytes {
  return links.reduce((sum, { out, back }) => ({ out: sum.out + out, back: sum.back + back }), { out: 0, back: 0 });
}

export interface HopTime {
  readonly seconds: number;
  /** Of it, what grows with the bytes, and therefore keeps the attention worker's event loop or its link busy. */
  readonly busySeconds: number;
}

/**
 * One layer's calls and their answers without compute: the constant once, half of it per further worker, the network's latency
 * twice, and the bytes at the slower of the two: processes' own cost per byte, network.
 */
export function hopTime(shape: PlanShape, fleet: Fleet, rows: number): HopTime {
  const { hop, link, experts } = fleet;
  const called = workersCalled(shape, layerShares(shape.experts, experts.length), rows);
  const { out, back } = totalBytes(linkBytesPerToken(shape, experts.length));
  const bytes = (rows * (out + back)) / shape.layers;
  const busySeconds = bytes * Math.max(hop.usPerKb / 1e9, 1 / (link.gbPerSecond * 1e9));
  const constantUs = hop.constantUs * (1 + FURTHER_CALL_SHARE * Math.max(0, called - 1)) + 2 * link.latencyUs;
  return { seconds: constantUs / 1e6 + busySeconds, busySeconds };
}
