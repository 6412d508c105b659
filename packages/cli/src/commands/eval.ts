import { availableParallelism } from "node:os";
import { basename, resolve } from "node:path";
import type { EvaluationExperts, NamedCase } from "@moiety/attention-worker";
import { AppError } from "@moiety/core";
import type { ActivationChoice } from "@moiety/kernels";
import { openCheckpoint } from "@moiety/model";
import { Command, Option } from "commander";
import { withExpertWorkers } from "../cluster/expert-workers.js";
import { activationOption, integerBetween, kernelLevelOption } from "../option-values.js";
import { type PromptFlags, promptCase } from "./prompt-case.js";

export interface EvalFlags extends PromptFlags {
  readonly cases?: string;
  readonly out: string;
  readonly for?: string;
  readonly expertWorkers?: number;
  readonly router?: string;
  readonly listen: string;
  readonly generate: number;
  readonly chunkTokens: number;
  readonly threads: number;
  readonly activation?: ActivationChoice;
  readonly kernelLevel?: "scalar" | "avx2" | "avx512" | "neon";
}

const EXAMPLES = `
IDS are token ids separated by commas, or a file of them; a flag that is repeated continues the list.

Examples:
  $ moiety eval ./tiny --tokens 1,2,3 --out /tmp/results                       writes /tmp/results/prompt.json
  $ moiety eval ./tiny --tokens prompt.txt --name long --probe-ids 5,6 --out /tmp/results
  $ moiety eval ./tiny --tokens 1,2,3 --forced 4,5 --generate 8 --out /tmp/results
  $ moiety eval ./tiny --tokens 1,2,3 --expert-workers 2 --out /tmp/results    experts in two processes of their own
  $ moiety eval ./tiny --tokens 1,2,3 --router 127.0.0.1:7070 --out /tmp/results    on a running cluster's expert workers

Examples, in a checkout of the repository:
  $ cd packages/testing/fixtures/golden
  $ moiety eval ckpt/A --cases cases.json --out /tmp/results --activation f32 --expert-workers 2
  $ python3 check.py golden /tmp/results --only A`;

/** `moiety eval <checkpoint>`. */
export function evalCommand(run: (folder: string, flags: EvalFlags) => Promise<void> = evaluate): Command {
  return new Command("eval")
    .summary("run prompts through a model and write logits")
    .description(
      "Runs prompts of token ids through the forward pass that serves requests, and writes one NAME.json of logits for each.",
    )
    .argument("<checkpoint>", "folder of the checkpoint")
    .requiredOption("--out <folder>", "where to write the results")
    .addOption(new Option("--tokens <ids>", "one prompt").argParser(collect).conflicts(["cases", "for"]))
    .option("--name <name>", 'what its result is called (default: "prompt")')
    .addOption(new Option("--forced <ids>", "a continuation to feed in, beside the one that is drawn").argParser(collect))
    .addOption(new Option("--probe-ids <ids>", "tokens whose logits are wanted at every position").argParser(collect))
    .option("--cases <file>", "many prompts: a JSON list of {name, tokens, checkpoint?, forced?, probe_ids?}")
    .option("--for <name>", "take the cases of this checkpoint; default: the folder's name")
    .option("--expert-workers <count>", "start that many expert workers for it; default: experts in this process", EXPERT_WORKERS)
    .addOption(new Option("--router <address>", "use the expert workers of this router").conflicts("expertWorkers"))
    .option("--listen <address>", "where expert workers reach this process", "127.0.0.1:0")
    .option("--generate <count>", "tokens to draw greedily after each prompt", integerBetween(1, 100_000), 32)
    .option("--chunk-tokens <count>", "tokens of a prompt per pass", integerBetween(1, 16_384), 512)
    .addOption(
      new Option("--threads <count>", "compute threads; expert workers that are started share as many")
        .env("MOIETY_THREADS")
        .default(availableParallelism(), "this machine's cores")
        .argParser(integerBetween(1, 1_024)),
    )
    .addOption(activationOption())
    .addOption(kernelLevelOption())
    .addHelpText("after", EXAMPLES)
    .action(run);
}

const EXPERT_WORKERS = integerBetween(1, 256);
const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

async function evaluate(folder: string, flags: EvalFlags): Promise<void> {
  const cases = await casesOf(folder, flags);
  const model = resolve(folder);
  if (flags.expertWorkers === undefined) {
    const { router } = flags;
    const experts: EvaluationExperts =
      router === undefined ? { kind: "co-located" } : { kind: "router", routerAddress: router, listenAddress: flags.listen };
    return await evaluateOn(experts, { model, cases, flags });
  }
  const { experts: held } = (await openCheckpoint(model)).config;
  if (flags.expertWorkers > held) {
    throw new AppError(
      "INVALID_ARGUMENT",
      `--expert-workers ${flags.expertWorkers}: the model has only ${held} experts to share`,
    );
  }
  const workers = {
    model,
    workers: flags.expertWorkers,
    threads: Math.max(1, Math.floor(flags.threads / flags.expertWorkers)),
    ...(flags.activation === undefined ? {} : { activation: flags.activation }),
    ...(flags.kernelLevel === undefined ? {} : { kernelLevel: flags.kernelLevel }),
    environment: process.env,
    tell: (line: string) => console.error(line),
  };
  await withExpertWorkers(workers, (routerAddress) =>
    evaluateOn({ kind: "router", routerAddress, listenAddress: flags.listen }, { model, cases, flags }),
  );
}

/** What the flags ask for. @throws AppError INVALID_ARGUMENT for flags that contradict each other or a file that is no list of cases. */
export async function casesOf(folder: string, flags: EvalFlags): Promise<readonly NamedCase[]> {
  if (flags.cases === undefined) {
    if (flags.tokens === undefined) throw new AppError("INVALID_ARGUMENT", "what to run is missing: give --tokens or --cases");
    return [await promptCase(flags)];
  }
  const alone = (["name", "forced", "probeIds"] as const).find((key) => flags[key] !== undefined);
  if (alone !== undefined) {
    const flag = alone === "probeIds" ? "--probe-ids" : `--${alone}`;
    throw new AppError("INVALID_ARGUMENT", `${flag} goes with --tokens; every one of --cases has its own`);
  }
  const { readCases } = await import("@moiety/attention-worker");
  return casesFor(await readCases(flags.cases), flags.for ?? basename(resolve(folder)));
}

interface EvaluationRun {
  /** Folder of the checkpoint, absolute. */
  readonly model: string;
  readonly cases: readonly NamedCase[];
  readonly flags: EvalFlags;
}

async function evaluateOn(experts: EvaluationExperts, { model, cases, flags }: EvaluationRun): Promise<void> {
  const { evaluateCases, openEvaluation } = await import("@moiety/attention-worker");
  const { createLogger } = await import("@moiety/runtime");
  const longest = Math.max(...cases.map(({ tokens, forced = [] }) => tokens.length + Math.max(flags.generate, forced.length)));
  const evaluation = await openEvaluation({
    directory: model,
    experts,
    threads: flags.threads,
    ...(flags.kernelLevel === undefined ? {} : { level: flags.kernelLevel }),
    activation: flags.activation ?? "auto",
    chunkTokens: flags.chunkTokens,
    generate: flags.generate,
    contextTokens: longest,
    logger: createLogger({ service: "eval", instance: "eval", level: "silent" }),
  });
  try {
    for (const each of cases) {
      const [file] = await evaluateCases(evaluation, [each], flags.out);
      console.log(`${file ?? each.name}: ${each.tokens.length} tokens`);
    }
    console.log(`${cases.length} ${cases.length === 1 ? "case" : "cases"} at level ${evaluation.level}`);
  } finally {
    await evaluation.close();
  }
}

/** The cases that name this checkpoint, or none. @throws AppError NOT_FOUND when no case is left. */
export function casesFor(cases: readonly NamedCase[], checkpoint: string): readonly NamedCase[] {
  const left = cases.filter((each) => each.checkpoint === undefined || each.checkpoint === checkpoint);
  if (left.length > 0) return left;
  const names = [...new Set(cases.map((each) => each.checkpoint))].join(", ");
  throw new AppError("NOT_FOUND", `no case is for the checkpoint ${checkpoint}; choose one with --for: ${names}`);
}
