import { formatTable, percent, short } from "../table.js";
import type { CaseFigures } from "./model-cases.js";
import { EXPERT_WORKERS, type ModelFigures, type ModelRun } from "./model-figures.js";

/** Tables of speed and of where the time went. */
export function formatModelRuns({ checkpoint, settings, runs }: ModelFigures): string {
  const { layers, hiddenSize, experts, vocabSize } = checkpoint;
  const about = [
    `${layers} layers, hidden ${hiddenSize}, ${experts} experts, vocabulary ${vocabSize}; random tokens, so synthetic routing;`,
    `decode from ${settings.promptTokens} tokens of context, greedy; a prefill is one step of one prompt.`,
  ].join(" ");
  return [about, ...runs.map((run) => formatRun(run, coLocatedLike(run, runs))), NOTES].join("\n\n");
}

const NOTES = [
  "GB/s: weights of attention and unembedding, once per micro-batch, and of the distinct experts chosen; beside this machine's reading.",
  "GOP/s: two per multiply-add of the linears; beside this machine's multiply-adds of f32 with f32 activations, of bf16 with the others.",
  "Shares are of the step's time, or of all micro-batches' time where several take turns; then attend holds waiting for the other's.",
  "network, queue and compute are the slowest worker's. idle: this process's JavaScript, and what else nothing counts.",
].join("\n");

/** The co-located run with the same threads and activations. */
function coLocatedLike(run: ModelRun, runs: readonly ModelRun[]): ModelRun | undefined {
  return runs.find(
    ({ experts, activation, attentionThreads }) =>
      experts === "co-located" && activation === run.activation && attentionThreads === run.attentionThreads,
  );
}

function formatRun(run: ModelRun, baseline: ModelRun | undefined): string {
  const { experts, activation, level, attentionThreads, expertThreads, limits } = run;
  const where =
    experts === "co-located"
      ? `${attentionThreads} thread(s)`
      : `${attentionThreads} thread(s) for attention, ${EXPERT_WORKERS} expert workers with ${expertThreads} thread(s) each`;
  const title = `${experts}, ${activation}, ${level}, ${where}`;
  const machine = `memory read ${short(limits.readGbPerSecond)} GB/s, multiply-adds of f32 ${short(limits.fmaGflopPerSecond)} GFLOP/s, of bf16 ${short(limits.bf16GflopPerSecond)}, of int8 ${short(limits.int8GopPerSecond)} (${limits.threads} threads)`;
  const speed = formatTable(
    ["case", "tokens/s", "step ms", "steps", "experts read", "fan-out", "GB/s", "of read", "GOP/s", "of peak", "of co-located"],
    run.cases.map((each, index) => speedCells(run, each, baseline?.cases[index])),
  );
  const parts = formatTable(
    ["case", "micro-batches", "attend", "encode", "network", "queue", "compute", "combine", "sample", "idle"],
    run.cases.map((each) => [
      nameOf(each),
      short(each.microBatches),
      ...(["attend", "encode", "network", "queue", "compute", "combine", "sample", "idle"] as const).map((part) =>
        percent(each.shares[part]),
      ),
    ]),
  );
  return [title, machine, speed, "", parts].join("\n");
}

function speedCells({ activation, limits }: ModelRun, each: CaseFigures, baseline: CaseFigures | undefined): string[] {
  return [
    nameOf(each),
    short(each.tokensPerSecond),
    short(each.stepMs),
    String(each.steps),
    each.expertsRead.toFixed(0),
    short(each.fanOut),
    short(each.readGbPerSecond),
    percent(each.readGbPerSecond / limits.readGbPerSecond),
    short(each.gopPerSecond),
    percent(each.gopPerSecond / (activation === "f32" ? limits.fmaGflopPerSecond : limits.bf16GflopPerSecond)),
    baseline === undefined ? "-" : `${short(each.tokensPerSecond / baseline.tokensPerSecond)}x`,
  ];
}

function nameOf({ kind, rows }: CaseFigures): string {
  return `${kind} ${rows}`;
}
