import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createLogger } from "@moiety/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCases } from "./cases.js";
import { type EvaluationOptions, evaluateCases, openEvaluation } from "./evaluation.js";

const golden = fileURLToPath(new URL("../../../../packages/testing/fixtures/golden/", import.meta.url));
const KEYS =
  "logits_last,probe_logits,argmax,lse,logprob_next,router_idx,resid_last,resid_attn_last,greedy,forced_argmax,forced_last_logits";
const logger = createLogger({ service: "evaluation", instance: "test", level: "silent" });

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "moiety-golden-"));
});
afterAll(() => rm(directory, { recursive: true }));

interface Run {
  readonly checkpoint: string;
  readonly activation: "f32" | "bf16" | "int8";
  readonly chunkTokens: number;
  readonly level?: NonNullable<EvaluationOptions["level"]>;
}

/** What check.py says of our results for one checkpoint. */
async function compare({ checkpoint, activation, chunkTokens, level }: Run): Promise<string> {
  const out = join(directory, `${checkpoint}-${activation}-${chunkTokens}-${level ?? "best"}`);
  const prefix = checkpoint.slice(0, 1);
  const cases = (await readCases(join(golden, "cases.json"))).filter((each) => each.checkpoint === prefix);
  const evaluation = await openEvaluation({
    directory: join(golden, "ckpt", checkpoint),
    experts: { kind: "co-located" },
    threads: 2,
    ...(level === undefined ? {} : { level }),
    activation,
    chunkTokens,
    contextTokens: 400,
    logger,
  });
  try {
    await evaluateCases(evaluation, cases, out);
  } finally {
    await evaluation.close();
  }
  const mode = activation === "f32" ? "fp32" : "bf16";
  const args = [join(golden, "check.py"), join(golden, "golden"), out, "--mode", mode, "--only", `${prefix}_`, "--need", KEYS];
  const run = promisify(execFile)("python3", args);
  const { stdout } = await run.catch((error: unknown) => error as { stdout: string });
  return stdout;
}

describe("evaluation against the reference model", () => {
  it.each<Run>([
    { checkpoint: "A", activation: "f32", chunkTokens: 512 },
    { checkpoint: "A", activation: "f32", chunkTokens: 7 },
    { checkpoint: "A", activation: "f32", chunkTokens: 64, level: "scalar" },
    { checkpoint: "A", activation: "bf16", chunkTokens: 512 },
    { checkpoint: "A-sharded", activation: "f32", chunkTokens: 512 },
    { checkpoint: "A-bf16", activation: "f32", chunkTokens: 512 },
    { checkpoint: "B", activation: "f32", chunkTokens: 512 },
    { checkpoint: "B", activation: "f32", chunkTokens: 13 },
    { checkpoint: "B", activation: "bf16", chunkTokens: 100 },
    { checkpoint: "A", activation: "int8", chunkTokens: 64 },
    { checkpoint: "B", activation: "int8", chunkTokens: 100 },
  ])("passes for $checkpoint in $activation, $chunkTokens tokens at a time", async (run) => {
    expect(await compare(run)).toMatch(/PASS\s*$/);
  });
});
