import { CHECKPOINT_SHAPES, type CheckpointShape, type CheckpointShapeName, writeRandomCheckpoint } from "@moiety/model";
import { Argument, Command, Option } from "commander";
import { byteCount, integerBetween } from "../option-values.js";
import { progressBar } from "./progress-bar.js";

export interface MakeCheckpointFlags {
  readonly like: CheckpointShapeName;
  readonly layers?: number;
  readonly hidden?: number;
  readonly intermediate?: number;
  readonly experts?: number;
  readonly expertsPerToken?: number;
  readonly headDim?: number;
  readonly heads?: number;
  readonly kvHeads?: number;
  readonly vocab?: number;
  readonly window?: number;
  readonly layout: "huggingface" | "original";
  readonly bf16: boolean;
  readonly seed: number;
  readonly shardBytes?: number;
  readonly tokenizer: "bytes" | "none";
}

const EXAMPLES = `
Examples:
  $ moiety make-checkpoint ./tiny
  $ moiety make-checkpoint ./wide --layers 2 --experts 64 --hidden 256
  $ moiety make-checkpoint ./like-20b --like 20b --shard-bytes 4GB     about 13 GB, for measurements
  $ moiety make-checkpoint ./original --layout original --tokenizer none`;

const SIZE = integerBetween(1, 1_000_000);

/** `moiety make-checkpoint <folder>`. */
export function makeCheckpointCommand(
  run: (folder: string, flags: MakeCheckpointFlags) => Promise<void> = makeCheckpoint,
): Command {
  return new Command("make-checkpoint")
    .summary("write a checkpoint of random weights")
    .description(
      "Writes a checkpoint of the gpt-oss architecture with random weights, of any shape. The same seed gives the same weights.",
    )
    .addArgument(new Argument("<folder>", "folder to make"))
    .addOption(new Option("--like <shape>", "shape to start from").choices(shapeNames()).default("tiny"))
    .option("--layers <count>", "layers", SIZE)
    .option("--hidden <size>", "hidden size, a multiple of 32", SIZE)
    .option("--intermediate <size>", "intermediate size of an expert, a multiple of 32", SIZE)
    .option("--experts <count>", "experts per layer", SIZE)
    .option("--experts-per-token <count>", "experts that a token uses", SIZE)
    .option("--head-dim <size>", "size of an attention head", SIZE)
    .option("--heads <count>", "query heads", SIZE)
    .option("--kv-heads <count>", "key and value heads", SIZE)
    .option("--vocab <size>", "size of the vocabulary", SIZE)
    .option("--window <tokens>", "sliding window", SIZE)
    .addOption(
      new Option("--layout <layout>", "names of files and tensors").choices(["huggingface", "original"]).default("huggingface"),
    )
    .option("--bf16", "leave the experts in bf16 instead of MXFP4", false)
    .option("--seed <number>", "seed of the weights", integerBetween(0, Number.MAX_SAFE_INTEGER), 0)
    .option("--shard-bytes <bytes>", "begin a new file beyond this size, such as 4GB; default: one file", byteCount)
    .addOption(new Option("--tokenizer <kind>", "tokenizer to write").choices(["bytes", "none"]).default("bytes"))
    .addHelpText("after", EXAMPLES)
    .action(run);
}

function shapeNames(): string[] {
  return Object.keys(CHECKPOINT_SHAPES);
}

/** The sizes that the flags replace. */
export function shapeOf(flags: MakeCheckpointFlags): Partial<CheckpointShape> {
  const sizes = {
    layers: flags.layers,
    hiddenSize: flags.hidden,
    intermediateSize: flags.intermediate,
    experts: flags.experts,
    expertsPerToken: flags.expertsPerToken,
    headDim: flags.headDim,
    queryHeads: flags.heads,
    kvHeads: flags.kvHeads,
    vocabSize: flags.vocab,
    slidingWindow: flags.window,
  };
  return Object.fromEntries(Object.entries(sizes).filter(([, size]) => size !== undefined));
}

async function makeCheckpoint(folder: string, flags: MakeCheckpointFlags): Promise<void> {
  const bar = progressBar(process.stderr);
  const cancelled = new AbortController();
  process.once("SIGINT", () => cancelled.abort());
  const written = await writeRandomCheckpoint({
    out: folder,
    like: flags.like,
    shape: shapeOf(flags),
    layout: flags.layout,
    quantised: !flags.bf16,
    seed: flags.seed,
    tokenizer: flags.tokenizer,
    ...(flags.shardBytes === undefined ? {} : { maxShardBytes: flags.shardBytes }),
    onProgress: ({ writtenBytes, totalBytes }) => bar.show(writtenBytes, totalBytes),
    signal: cancelled.signal,
  }).finally(() => bar.clear());
  const megabytes = (written.totalBytes / 1e6).toFixed(1);
  console.log(
    `${written.directory}: ${written.config.layers} layers, ${written.config.experts} experts, ${megabytes} MB of weights`,
  );
}
