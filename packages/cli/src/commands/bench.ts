import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { AppError } from "@moiety/core";
import { Command, InvalidArgumentError, Option } from "commander";
import type { Benchmark, BenchmarkOptions } from "../bench/benchmark.js";
import { BENCHMARKS } from "../bench/benchmarks.js";
import { describeMachine, formatMachine } from "../bench/machine.js";
import { displayPath } from "../display-path.js";
import { integerBetween, kernelLevelOption } from "../option-values.js";

export interface BenchFlags {
  /** A file, or true for standard output. */
  readonly json: string | boolean;
  readonly threads?: readonly number[];
  readonly expertThreads?: number;
  readonly kernelLevel?: NonNullable<BenchmarkOptions["level"]>;
  readonly activation: BenchmarkOptions["activations"];
  readonly checkpoint?: string;
  readonly streams?: number;
  readonly pin: boolean;
  readonly quick: boolean;
  readonly dataDir: string;
}

const EXAMPLES = `
Examples:
  $ moiety bench                                  every benchmark
  $ moiety bench --quick                          small sizes: whether everything works, in about a minute
  $ moiety bench hop                              one of them
  $ moiety bench kernels model --threads 1,4      some, with other numbers of threads
  $ moiety bench model --checkpoint ./gpt-oss-20b --activation bf16,f32
  $ moiety bench gateway --streams 2000 --pin
  $ moiety bench --json results.json              tables, and the same figures as JSON in a file
  $ moiety bench hop --json                       JSON alone

Figures are of this machine, now: leave it otherwise idle.`;

/** `moiety bench [names...]`. */
export function benchCommand(run: (names: readonly string[], flags: BenchFlags) => Promise<void> = bench): Command {
  const list = BENCHMARKS.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`).join("\n");
  return new Command("bench")
    .summary("measure this machine")
    .description("Runs benchmarks and prints each figure beside its limit or baseline, measured in the same run.")
    .argument("[names...]", "which ones; default: all")
    .option("--json [file]", "write JSON to a file, or print JSON alone", jsonFile, false)
    .option("--quick", "small sizes and short times: for trying it out, not for figures", false)
    .option("--threads <counts>", "numbers of compute threads, separated by commas", threadCounts)
    .option("--expert-threads <count>", "model: of each of the two expert workers (default: half)", integerBetween(1, 256))
    .addOption(kernelLevelOption())
    .addOption(
      new Option("--activation <types>", "model: number formats of activations, separated by commas")
        .default(["int8", "bf16"], "int8,bf16")
        .argParser(activations),
    )
    .option(
      "--checkpoint <folder>",
      "model, prompt: what to measure (default: four layers of 20b's shape, made on first use; the default model)",
    )
    .option("--streams <count>", "gateway: concurrent streams (default: 1000)", integerBetween(1, 4_000))
    .option("--pin", "gateway: the gateway on one core, everything else on the others (needs taskset)", false)
    .addOption(
      new Option("--data-dir <folder>", "made checkpoints, logs and Redis's data").env("MOIETY_DATA_DIR").default(".moiety"),
    )
    .addHelpText("after", `\nBenchmarks:\n${list}\n${EXAMPLES}`)
    .action(run);
}

function threadCounts(text: string): readonly number[] {
  const counts = text.split(",").map(integerBetween(1, 256));
  if (new Set(counts).size < counts.length) throw new InvalidArgumentError("Expected different numbers.");
  return counts;
}

function activations(text: string): BenchmarkOptions["activations"] {
  const types = [...new Set(text.split(","))];
  return types.map((type) => {
    if (type === "bf16" || type === "f32" || type === "int8") return type;
    throw new InvalidArgumentError("Expected some of bf16, f32, int8, separated by commas.");
  });
}

function jsonFile(text: string): string | boolean {
  if (!BENCHMARKS.some(({ name }) => name === text)) return text;
  throw new InvalidArgumentError(`${text} would be a file's name here; put --json behind the names.`);
}

async function bench(names: readonly string[], flags: BenchFlags): Promise<void> {
  const benchmarks = chosen(names);
  const alone = flags.json === true;
  const print = (text: string) => (alone ? undefined : console.log(text));
  if (flags.checkpoint !== undefined && !existsSync(flags.checkpoint)) {
    throw new AppError("NOT_FOUND", `--checkpoint: there is no folder ${flags.checkpoint}`);
  }
  const options: BenchmarkOptions = {
    activations: flags.activation,
    quick: flags.quick,
    pin: flags.pin,
    dataDir: resolve(flags.dataDir),
    tell: (line) => console.error(line),
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    ...(flags.expertThreads === undefined ? {} : { expertThreads: flags.expertThreads }),
    ...(flags.kernelLevel === undefined ? {} : { level: flags.kernelLevel }),
    ...(flags.checkpoint === undefined ? {} : { checkpoint: flags.checkpoint }),
    ...(flags.streams === undefined ? {} : { streams: flags.streams }),
  };
  const machine = await describeMachine(flags.kernelLevel);
  print(formatMachine(machine));
  if (flags.quick) print("A quick run: its figures show that it works, no more.");
  const results: Record<string, unknown> = {};
  for (const benchmark of benchmarks) {
    print(`\n${benchmark.name}: ${benchmark.summary}`);
    const result = await benchmark.run(options);
    results[benchmark.name] = result.figures;
    print(result.text);
  }
  const json = `${JSON.stringify({ machine, quick: flags.quick, benchmarks: results }, undefined, 2)}\n`;
  if (alone) process.stdout.write(json);
  else if (typeof flags.json === "string") {
    await writeFile(flags.json, json);
    print(`\nJSON in ${displayPath(resolve(flags.json))}`);
  }
}

function chosen(names: readonly string[]): readonly Benchmark[] {
  const unknown = names.filter((name) => !BENCHMARKS.some((benchmark) => benchmark.name === name));
  if (unknown.length > 0) {
    const known = BENCHMARKS.map(({ name }) => name).join(", ");
    throw new AppError("INVALID_ARGUMENT", `there is no benchmark named ${unknown.join(", ")}; there are: ${known}`);
  }
  return names.length === 0 ? BENCHMARKS : BENCHMARKS.filter(({ name }) => names.includes(name));
}
