import { AppError } from "@moiety/core";
import { Command, InvalidArgumentError } from "commander";
import type { Benchmark, BenchmarkOptions } from "../bench/benchmark.js";
import { BENCHMARKS } from "../bench/benchmarks.js";
import { integerBetween, kernelLevelOption } from "../option-values.js";

export interface BenchFlags {
  readonly json: boolean;
  readonly threads?: readonly number[];
  readonly kernelLevel?: NonNullable<BenchmarkOptions["level"]>;
}

const EXAMPLES = `
Examples:
  $ moiety bench                           every benchmark
  $ moiety bench kernels --threads 1,4     one, with other numbers of threads
  $ moiety bench kernels --json            as JSON

Figures are of this machine, now: leave it otherwise idle.`;

/** `moiety bench [names...]`. */
export function benchCommand(run: (names: readonly string[], flags: BenchFlags) => Promise<void> = bench): Command {
  const list = BENCHMARKS.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`).join("\n");
  return new Command("bench")
    .summary("measure this machine")
    .description("Runs benchmarks and prints each figure beside its limit.")
    .argument("[names...]", "which ones; default: all")
    .option("--json", "print JSON", false)
    .option("--threads <counts>", "numbers of compute threads, separated by commas", threadCounts)
    .addOption(kernelLevelOption())
    .addHelpText("after", `\nBenchmarks:\n${list}\n${EXAMPLES}`)
    .action(run);
}

function threadCounts(text: string): readonly number[] {
  const counts = text.split(",").map(integerBetween(1, 1_024));
  if (new Set(counts).size < counts.length) throw new InvalidArgumentError("Expected different numbers.");
  return counts;
}

async function bench(names: readonly string[], flags: BenchFlags): Promise<void> {
  const options: BenchmarkOptions = {
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    ...(flags.kernelLevel === undefined ? {} : { level: flags.kernelLevel }),
  };
  const figures: Record<string, unknown> = {};
  for (const benchmark of chosen(names)) {
    if (!flags.json) console.log(`${benchmark.name}: ${benchmark.summary}`);
    const result = await benchmark.run(options);
    figures[benchmark.name] = result.figures;
    if (!flags.json) console.log(`${result.text}\n`);
  }
  if (flags.json) console.log(JSON.stringify(figures, undefined, 2));
}

function chosen(names: readonly string[]): readonly Benchmark[] {
  const unknown = names.filter((name) => !BENCHMARKS.some((benchmark) => benchmark.name === name));
  if (unknown.length > 0) {
    const known = BENCHMARKS.map(({ name }) => name).join(", ");
    throw new AppError("INVALID_ARGUMENT", `there is no benchmark named ${unknown.join(", ")}; there are: ${known}`);
  }
  return names.length === 0 ? BENCHMARKS : BENCHMARKS.filter(({ name }) => names.includes(name));
}
