import { availableParallelism } from "node:os";
import { basename, resolve } from "node:path";
import type { EvaluationExperts, NamedCase } from "@moiety/attention-worker";
import { AppError } from "@moiety/core";
import { createLogger } from "@moiety/runtime";
import { Command, Option } from "commander";
import { activationOption, integerBetween, kernelLevelOption } from "../option-values.js";

export interface EvalFlags {
  readonly cases: string;
  readonly out: string;
  readonly for?: string;
  readonly router?: string;
  readonly listen: string;
  readonly generate: number;
  readonly chunkTokens: number;
  readonly threads: number;
  readonly activation?: "f32" | "bf16";
  readonly kernelLevel?: "scalar" | "avx2" | "avx512" | "neon";
}

const EXAMPLES = `
Examples, in a checkout of the repository:
  $ cd packages/testing/fixtures/golden
  $ moiety eval ckpt/A --cases cases.json --out /tmp/results --activation f32
  $ python3 check.py golden /tmp/results --only A
  $ moiety eval ckpt/A --cases cases.json --out /tmp/results --router 127.0.0.1:7070     on a running cluster's expert workers`;

/** `moiety eval <checkpoint>`. */
export function evalCommand(run: (folder: string, flags: EvalFlags) => Promise<void> = evaluate): Command {
  return new Command("eval")
    .summary("run prompts through a model and write logits")
    .description(
      "Runs prompts of token ids through the forward pass that serves requests, and writes one NAME.json of logits for each.",
    )
    .argument("<checkpoint>", "folder of the checkpoint")
    .requiredOption("--cases <file>", "prompts: a JSON list of {name, tokens, checkpoint?, forced?, probe_ids?}")
    .requiredOption("--out <folder>", "where to write the results")
    .option("--for <name>", "take the cases of this checkpoint; default: the folder's name")
    .option("--router <address>", "use the expert workers of this router; default: experts in this process")
    .option("--listen <address>", "where those expert workers reach this process", "127.0.0.1:0")
    .option("--generate <count>", "tokens to draw greedily after each prompt", integerBetween(1, 100_000), 32)
    .option("--chunk-tokens <count>", "tokens of a prompt per pass", integerBetween(1, 16_384), 512)
    .addOption(
      new Option("--threads <count>", "compute threads")
        .env("MOIETY_THREADS")
        .default(availableParallelism(), "this machine's cores")
        .argParser(integerBetween(1, 1_024)),
    )
    .addOption(activationOption())
    .addOption(kernelLevelOption())
    .addHelpText("after", EXAMPLES)
    .action(run);
}

async function evaluate(folder: string, flags: EvalFlags): Promise<void> {
  const { evaluateCases, openEvaluation, readCases } = await import("@moiety/attention-worker");
  const cases = casesFor(await readCases(flags.cases), flags.for ?? basename(resolve(folder)));
  const longest = Math.max(...cases.map(({ tokens, forced = [] }) => tokens.length + Math.max(flags.generate, forced.length)));
  const experts: EvaluationExperts =
    flags.router === undefined
      ? { kind: "co-located" }
      : { kind: "router", routerAddress: flags.router, listenAddress: flags.listen };
  const evaluation = await openEvaluation({
    directory: resolve(folder),
    experts,
    threads: flags.threads,
    ...(flags.kernelLevel === undefined ? {} : { level: flags.kernelLevel }),
    activation: flags.activation ?? "bf16",
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
    console.log(`${cases.length} cases at level ${evaluation.level}`);
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
