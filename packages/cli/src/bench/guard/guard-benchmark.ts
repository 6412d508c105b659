import { AppError } from "@moiety/core";
import { benchmarkKernels } from "@moiety/kernels";
import type { BenchmarkOptions, BenchmarkResult } from "../benchmark.js";
import { benchmarkHop } from "../hop/hop-benchmark.js";
import { unloggedStepMs } from "../step/step-benchmark.js";
import { formatTable, short } from "../table.js";
import { type Bound, better, HOP_BOUND, type Judged, judge, kernelBounds, STEP_BOUND } from "./bounds.js";
import { yardstickMs } from "./yardstick.js";

/** What is out of bounds is measured again, so often at most: noise passes, a slow change stays. */
const TRIES = 5;

/** Ratios that are measured together, in the order of their bounds. */
interface Group {
  readonly bounds: readonly Bound[];
  measure(): Promise<readonly number[]>;
}

/**
 * Measures what has once been made fast, as ratios to limits and baselines of the same moment, and holds it against bounds.
 * @throws AppError FAILED_PRECONDITION when something is out of them after five tries.
 */
export async function benchmarkGuard(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const judged: Judged[] = [];
  for (const group of [await kernelGroup(options), hopGroup(options), stepGroup(options)]) {
    judged.push(...(await judgeGroup(group, options.tell)));
  }
  const text = format(judged);
  const slow = judged.filter(({ ok }) => !ok);
  if (slow.length === 0) return { text, figures: judged };
  throw new AppError("FAILED_PRECONDITION", `slower than before: ${slow.map(({ name }) => name).join("; ")}\n${text}`);
}

async function judgeGroup({ bounds, measure }: Group, tell: BenchmarkOptions["tell"]): Promise<readonly Judged[]> {
  let judged: readonly Judged[] = [];
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const ratios = await measure();
    judged = bounds.map((bound, index) => {
      const before = judged[index]?.ratio;
      const ratio = ratios[index] ?? Number.NaN;
      return judge(bound, before === undefined ? ratio : better(bound.kind, before, ratio));
    });
    const slow = judged.filter(({ ok }) => !ok);
    if (slow.length === 0) break;
    tell(`guard: try ${attempt}: ${slow.map(({ name, ratio }) => `${name} ${short(ratio)}`).join("; ")}`);
  }
  return judged;
}

/** One thread: a second one is the first to suffer from a machine's other work. */
async function kernelGroup({ level }: BenchmarkOptions): Promise<Group> {
  const options = { threads: [1], ...(level === undefined ? {} : { level }) };
  const bounds = kernelBounds((await benchmarkKernels({ ...options, rows: [] })).level);
  const measure = async () => {
    const { linears } = await benchmarkKernels({ ...options, rows: [1, 512] });
    return bounds.map(({ format, rows }) => {
      const linear = linears.find((each) => each.format === format && each.rows === rows);
      return (rows === 1 ? linear?.ofRead : linear?.ofArithmetic) ?? Number.NaN;
    });
  };
  return { bounds, measure };
}

function hopGroup(options: BenchmarkOptions): Group {
  const measure = async () => {
    const { hops } = (await benchmarkHop({ ...options, quick: true })).figures;
    return [hops.find(({ rows }) => rows === 64)?.ratio ?? Number.NaN];
  };
  return { bounds: [HOP_BOUND], measure };
}

function stepGroup(options: BenchmarkOptions): Group {
  const measure = async () => {
    const before = yardstickMs();
    const stepMs = await unloggedStepMs(options);
    return [stepMs / Math.min(before, yardstickMs())];
  };
  return { bounds: [STEP_BOUND], measure };
}

function format(judged: readonly Judged[]): string {
  return formatTable(
    ["figure", "of", "ratio", "bound"],
    judged.map(({ name, of, ratio, bound, kind, ok }) => [
      name,
      of,
      short(ratio),
      `${kind === "floor" ? "at least" : "at most"} ${short(bound)}${ok ? "" : ", missed"}`,
    ]),
  );
}
