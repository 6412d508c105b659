import { formatTable, short } from "../bench/table.js";
import { type CheckedCase, type CheckedPart, GOAL } from "./check.js";
import { totalBytes } from "./hop.js";
import type { MemoryNeed } from "./memory.js";
import type { PlanShape } from "./plan-shape.js";
import type { DecodePrediction, FleetPrediction } from "./predict.js";
import type { Workload } from "./workload.js";

/** A plan as tables of text. */
export function formatPlan(shape: PlanShape, workload: Workload, predictions: readonly FleetPrediction[]): string {
  const sections = [
    formatMemory(predictions),
    ...predictions.flatMap(formatLacks),
    "",
    formatLinks(predictions, workload),
    "",
    formatDecode(predictions),
    "",
    NOTES,
  ];
  const { layers, experts, expertsPerToken, expertBytes } = shape;
  const title = `${shape.name}: ${layers} layers, ${experts} experts of ${gigabytes(expertBytes, 3)} GB in each, ${expertsPerToken} per token; sequences of ${workload.contextTokens} tokens`;
  return [title, "", ...sections].join("\n");
}

const NOTES = [
  "Parts are of a step's micro-batches one after another; one batch: not split; overlapped: two halves that take turns.",
  "tokens/s: overlapped from 16 rows per half on each attention worker, else one batch. Routing is taken to be uniform.",
].join("\n");

function formatMemory(predictions: readonly FleetPrediction[]): string {
  const lines = predictions.flatMap(({ expertWorkers, memory }) =>
    groupsOf(memory).map(({ first, count }) => [
      String(expertWorkers),
      `${count} x ${first.kind}`,
      String(first.slots),
      gigabytes(first.weightsBytes),
      gigabytes(first.kvBytes),
      gigabytes(first.headroomBytes),
      gigabytes(first.memoryBytes),
      first.lacksBytes === 0 ? "yes" : "no",
    ]),
  );
  return formatTable(["expert workers", "worker", "experts held", "weights GB", "KV GB", "kept free GB", "of GB", "fits"], lines);
}

/** Workers with equal needs, named together. */
function groupsOf(memory: readonly MemoryNeed[]): readonly { readonly first: MemoryNeed; readonly count: number }[] {
  const groups = new Map<string, { readonly first: MemoryNeed; readonly count: number }>();
  for (const need of memory) {
    const key = JSON.stringify({ ...need, worker: "" });
    const known = groups.get(key);
    groups.set(key, known === undefined ? { first: need, count: 1 } : { ...known, count: known.count + 1 });
  }
  return [...groups.values()];
}

/** One line per worker that is too small, in whole bytes. */
function formatLacks({ expertWorkers, memory }: FleetPrediction): readonly string[] {
  return memory
    .filter(({ lacksBytes }) => lacksBytes > 0)
    .map(
      ({ worker, lacksBytes }) =>
        `too small with ${expertWorkers} expert workers: ${worker} lacks ${lacksBytes} bytes (${gigabytes(lacksBytes)} GB)`,
    );
}

function formatLinks(predictions: readonly FleetPrediction[], { prefillTokens }: Workload): string {
  const lines = predictions.map(({ expertWorkers, expertsOfLayer, linkBytes, prefill }) => {
    const { out, back } = totalBytes(linkBytes);
    const [most, fewest] = [expertsOfLayer[0] ?? 0, expertsOfLayer.at(-1) ?? 0];
    return [
      String(expertWorkers),
      most === fewest ? String(most) : `${fewest}-${most}`,
      kilobytes(out),
      kilobytes(back),
      short(prefill.step.seconds * 1_000),
      short(prefill.tokensPerSecond),
      prefill.step.bottleneck,
    ];
  });
  const header = ["expert workers", "experts of a layer", "kB out/token", "kB back/token"];
  return formatTable([...header, `prefill ${prefillTokens} ms`, "prefill tokens/s", "bottleneck"], lines);
}

function formatDecode(predictions: readonly FleetPrediction[]): string {
  const header = ["expert workers", "batch", "attention", "hop", "experts", "combine", "sample"];
  const lines = predictions.flatMap(({ expertWorkers, decode }) =>
    decode.map((each) => [String(expertWorkers), ...decodeCells(each)]),
  );
  return formatTable([...header, "one batch ms", "overlapped ms", "tokens/s", "ms/token", "bottleneck"], lines);
}

function decodeCells({ batch, single, overlapped, tokensPerSecond, msPerToken, bottleneck }: DecodePrediction): string[] {
  const { attention, hop, experts, combine, sample } = single.parts;
  return [
    String(batch),
    ...[attention, hop, experts, combine, sample, single.seconds].map((seconds) => short(seconds * 1_000)),
    overlapped === undefined ? "-" : short(overlapped.seconds * 1_000),
    short(tokensPerSecond),
    short(msPerToken),
    bottleneck,
  ];
}

/** Predictions beside what was measured. */
export function formatCheck(cases: readonly CheckedCase[]): string {
  const lines = cases.map(({ experts, activation, kind, rows, step, ratio, attention, hop, compute, sample }) => [
    `${experts}, ${activation}, ${kind} ${rows}`,
    short(step.predictedMs),
    short(step.measuredMs),
    short(ratio),
    ...[attention, hop, compute, sample].map(beside),
  ]);
  const header = ["case", "predicted ms", "measured ms", "ratio", "attention", "hop", "experts", "sample"];
  const good = cases.filter(({ withinGoal }) => withinGoal).length;
  const summary = `${good} of ${cases.length} within ${GOAL * 100}%. Parts: predicted / measured ms, of all micro-batches.`;
  return `${formatTable(header, lines)}\n\n${summary}`;
}

function beside({ predictedMs, measuredMs }: CheckedPart): string {
  return `${short(predictedMs)} / ${short(measuredMs)}`;
}

function gigabytes(bytes: number, digits = 2): string {
  return (bytes / 1e9).toFixed(digits);
}

function kilobytes(bytes: number): string {
  return short(bytes / 1_000);
}
