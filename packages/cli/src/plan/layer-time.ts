import { computeSeconds, type Device } from "./device.js";
import type { Fleet } from "./fleet.js";
import { hopTime } from "./hop.js";
import type { PlanShape } from "./plan-shape.js";
import { layerShares, slowestLoad } from "./routing.js";
import type { Batch } from "./workload.js";

/** What a part of a step waits for. */
export type Bound = "memory" | "compute";

export interface PartTime {
  readonly seconds: number;
  readonly bound: Bound;
}

/** One layer of one micro-batch, and what follows the last layer. */
export interface LayerTime {
  /** Projections, scores, gate; the mean of sliding and full layers. */
  readonly attention: PartTime;
  readonly hopSeconds: number;
  /** Of the hop, what no other micro-batch can use meanwhile. */
  readonly hopBusySeconds: number;
  /** The slowest worker's. */
  readonly experts: PartTime;
  readonly combineSeconds: number;
  /** Once per step: final norm, unembedding, drawing. */
  readonly sample: PartTime;
}

export function layerTime(shape: PlanShape, fleet: Fleet, batch: Batch): LayerTime {
  const attention = slowest(fleet.attention.map(({ device }) => ({ device, time: attentionTime(shape, device, batch) })));
  const hop = hopTime(shape, fleet, batch.rows);
  return {
    attention: attention.time,
    hopSeconds: hop.seconds,
    hopBusySeconds: hop.busySeconds,
    experts: expertsTime(shape, fleet, batch.rows),
    combineSeconds: combineBytes(shape, batch.rows) / attention.device.readBytesPerSecond,
    sample: sampleTime(shape, attention.device, batch),
  };
}

function slowest<T extends { readonly time: PartTime }>(times: readonly T[]): T {
  return times.reduce((worst, each) => (each.time.seconds > worst.time.seconds ? each : worst));
}

/** The slower of reading bytes and computing: a kernel does both at once. */
function roofline(readSeconds: number, arithmeticSeconds: number): PartTime {
  return readSeconds >= arithmeticSeconds
    ? { seconds: readSeconds, bound: "memory" }
    : { seconds: arithmeticSeconds, bound: "compute" };
}

/** Linears on all rows, then scores: both read (weights; keys and values) and compute, each at the slower of the two. */
export function attentionTime(shape: PlanShape, device: Device, batch: Batch): PartTime {
  const { rows } = batch;
  const linears = roofline(
    shape.layerBytes / device.readBytesPerSecond,
    computeSeconds(device.bf16, { rows, rowFlops: shape.rowFlops }),
  );
  const { scored, read } = positionsPerLayer(shape, batch);
  const many = device.bf16.at(-1)?.flopPerSecond ?? Number.NaN;
  const scores = roofline((read * shape.positionBytes) / device.readBytesPerSecond, (scored * shape.scoreFlops) / many);
  const bound = linears.seconds >= scores.seconds ? linears.bound : scores.bound;
  return { seconds: linears.seconds + scores.seconds, bound };
}

/**
 * Positions in one layer, on average over sliding and full ones. Scored: visible positions, summed over the rows. Read: keys and values
 * that come from memory, for each decoded sequence its own, for the rows of a prompt the same ones.
 */
function positionsPerLayer(shape: PlanShape, batch: Batch): { readonly scored: number; readonly read: number } {
  const { layers, slidingLayers, slidingWindow } = shape;
  const mean = (full: number, sliding: number) => (full * (layers - slidingLayers) + sliding * slidingLayers) / layers;
  if (batch.kind === "decode") {
    const visible = mean(batch.contextTokens, Math.min(batch.contextTokens, slidingWindow));
    return { scored: batch.rows * visible, read: batch.rows * visible };
  }
  const upTo = (rows: number) => (rows * (rows + 1)) / 2;
  const inWindow = Math.min(batch.rows, slidingWindow);
  const scored = mean(upTo(batch.rows), upTo(inWindow) + (batch.rows - inWindow) * slidingWindow);
  return { scored, read: batch.rows };
}

/** The layer waits for the slowest worker: its distinct experts' weights once, and all of its pairs. */
function expertsTime(shape: PlanShape, fleet: Fleet, rows: number): PartTime {
  const shares = layerShares(shape.experts, fleet.experts.length);
  const times = fleet.experts.map(({ device }, index) => {
    const load = slowestLoad(shape, { held: shares[index] ?? 0, workers: shares.length, rows });
    return { time: load.touched === 0 ? IDLE : expertTime(shape, device, load) };
  });
  return slowest(times).time;
}

const IDLE: PartTime = { seconds: 0, bound: "memory" };

function expertTime(
  shape: PlanShape,
  device: Device,
  { pairs, touched }: { readonly pairs: number; readonly touched: number },
): PartTime {
  const rates = shape.expertFormat === "mxfp4" ? device.mxfp4 : device.bf16;
  const each = computeSeconds(rates, { rows: pairs / touched, rowFlops: shape.pairFlops });
  return roofline((touched * shape.expertBytes) / device.readBytesPerSecond, touched * each);
}

/** Result rows once, and the residual stream in f32 in and out. */
function combineBytes(shape: PlanShape, rows: number): number {
  return rows * (shape.expertsPerToken * shape.rowBytes + 2 * 4 * shape.hiddenSize);
}

function sampleTime(shape: PlanShape, device: Device, batch: Batch): PartTime {
  const rows = batch.kind === "decode" ? batch.rows : 1;
  return roofline(
    shape.unembeddingBytes / device.readBytesPerSecond,
    computeSeconds(device.bf16, { rows, rowFlops: shape.drawFlops }),
  );
}
