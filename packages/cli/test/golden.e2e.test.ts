import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { openEvaluation, readCases } from "@moiety/attention-worker";
import { availableLevels, type KernelLevel } from "@moiety/kernels";
import { createLogger } from "@moiety/runtime";
import {
  type ClusterHandle,
  compareGolden,
  describeGolden,
  type GoldenMode,
  type GoldenResults,
  goldenCases,
  judgeGolden,
  readGolden,
  startCluster,
} from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startExpertServers } from "./expert-servers.js";

const run = promisify(execFile);
const moiety = fileURLToPath(new URL("../bin/moiety.js", import.meta.url));
const fixtures = fileURLToPath(new URL("../../testing/fixtures/golden/", import.meta.url));

/** check.py's keys; logits_all exists for short prompts only. */
const NEEDED =
  "logits_last probe_logits argmax lse router_idx resid_last resid_attn_last greedy forced_argmax forced_last_logits".split(" ");

interface Setting {
  readonly checkpoint: string;
  /** Expert workers; 0: the experts are inside the attention worker. */
  readonly workers: number;
  readonly level: KernelLevel;
  readonly activation: "f32" | "bf16" | "int8";
}

let out: string;

beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), "moiety-golden-"));
});
afterAll(() => rm(out, { recursive: true, force: true }));

type Results = readonly { readonly name: string; readonly got: GoldenResults }[];

/** Runs the documented command, and reads what it wrote. */
async function evaluateByCommand(setting: Setting, routerAddress: string | undefined, chunkTokens: number): Promise<Results> {
  const { checkpoint, level, activation } = setting;
  const folder = join(out, `${checkpoint}-${setting.workers}-${level}-${activation}-${chunkTokens}`);
  const flags = ["--for", casesOf(checkpoint), "--activation", activation, "--kernel-level", level, "--threads", "2"];
  const where = routerAddress === undefined ? [] : ["--router", routerAddress];
  const cases = ["--cases", join(fixtures, "cases.json"), "--chunk-tokens", String(chunkTokens), "--out", folder];
  await run(process.execPath, [moiety, "eval", join(fixtures, "ckpt", checkpoint), ...cases, ...flags, ...where]);
  return Promise.all(
    goldenCases()
      .filter((each) => each.checkpoint === casesOf(checkpoint))
      .map(async ({ name }) => ({ name, got: flatten(JSON.parse(await readFile(join(folder, `${name}.json`), "utf8"))) })),
  );
}

/** As the command does, in this process. */
async function evaluateHere(setting: Setting, routerAddress: string | undefined, chunkTokens: number): Promise<Results> {
  const cases = (await readCases(join(fixtures, "cases.json"))).filter((each) => each.checkpoint === casesOf(setting.checkpoint));
  const evaluation = await openEvaluation({
    directory: join(fixtures, "ckpt", setting.checkpoint),
    experts: routerAddress === undefined ? { kind: "co-located" } : { kind: "router", routerAddress },
    threads: 2,
    level: setting.level,
    activation: setting.activation,
    chunkTokens,
    contextTokens: 400,
    logger: createLogger({ service: "evaluation", instance: "test", level: "silent" }),
  });
  try {
    const results: { name: string; got: GoldenResults }[] = [];
    for (const each of cases)
      results.push({ name: each.name, got: flatten(JSON.parse(JSON.stringify(await evaluation.run(each)))) });
    return results;
  } finally {
    await evaluation.close();
  }
}

/** The checkpoints A-sharded and A-bf16 hold the weights of A. */
const casesOf = (checkpoint: string) => checkpoint.slice(0, 1);

function flatten(results: Record<string, unknown>): GoldenResults {
  return Object.fromEntries(
    Object.entries(results).map(([key, value]) => [key, (value as unknown[]).flat(Number.POSITIVE_INFINITY) as number[]]),
  );
}

function expectGolden(results: Results, mode: GoldenMode): void {
  const cases = results.map(({ name, got }) => {
    expect(Object.keys(got), name).toEqual(expect.arrayContaining(NEEDED));
    return { name, checks: compareGolden(readGolden(name), got, mode) };
  });
  const wrong = cases.map(({ name, checks }) => `${name}: ${describeGolden(checks)}`).join("\n");
  expect(judgeGolden(cases.map(({ checks }) => checks)), wrong).toBe(true);
}

/** Whether processes compute, or what they consist of within this one: hundreds of processes take minutes to start. */
type Way = "by processes" | "here";

/** Every chunking gives the same bits, and these are within the tolerances, and those of every other setting. */
async function expectRight(way: Way, setting: Setting, chunkings: readonly number[]): Promise<void> {
  const experts = setting.workers === 0 ? undefined : await startExperts(way, setting);
  const evaluate = way === "here" ? evaluateHere : evaluateByCommand;
  try {
    const [first, ...others] = await Promise.all(chunkings.map((chunk) => evaluate(setting, experts?.routerAddress, chunk)));
    if (first === undefined) throw new Error("no chunking was given");
    for (const other of others) expect(other).toEqual(first);
    expectGolden(first, setting.activation === "f32" ? "fp32" : "bf16");
    const key = `${setting.checkpoint} ${setting.activation}`;
    const known = bitsOf.get(key);
    if (known === undefined) bitsOf.set(key, first);
    else expect(first, `${key}: the same bits at every level and sharding`).toEqual(known);
  } finally {
    await experts?.close();
  }
}
const bitsOf = new Map<string, Results>();

async function startExperts(way: Way, { checkpoint, workers, level, activation }: Setting) {
  const model = join(fixtures, "ckpt", checkpoint);
  if (way === "here") return await startExpertServers({ model, workers, activation, kernelLevel: level });
  const options = { model, expertWorkers: workers, attentionWorkers: 0, gateways: 0, activation, kernelLevel: level };
  const cluster = await startCluster(options);
  const routerAddress = cluster.router?.process.command.env["MOIETY_LISTEN_ADDRESS"];
  // Without it the command would compute all by itself, and find the same.
  if (routerAddress === undefined) throw new Error("the cluster has a router, which listens somewhere");
  return { routerAddress, close: () => cluster.close() };
}

const LEVELS = availableLevels();
const BEST = LEVELS.at(-1) ?? "scalar";
/** The second-best, where there are two: so `--kernel-level` says something. */
const OTHER = LEVELS.at(-2) ?? BEST;

describe.each(["f32", "bf16", "int8"] as const)("the golden outputs, with %s activations", (activation) => {
  // The scalar level is slow: it takes one chunking for each sharding, and has to give the same bits for all.
  for (const level of LEVELS)
    for (const checkpoint of ["A", "B"])
      it.each([
        { workers: 0, chunkings: level === "scalar" ? [512] : [512, 5] },
        { workers: 2, chunkings: level === "scalar" ? [64] : [100, 1] },
        { workers: 3, chunkings: level === "scalar" ? [5] : [64, 7] },
      ])(
        `are met at level ${level}, checkpoint ${checkpoint}, with $workers expert workers, in chunks of $chunkings tokens`,
        ({ workers, chunkings }) => expectRight("here", { checkpoint, workers, level, activation }, chunkings),
        180_000,
      );

  it.each([
    { checkpoint: "A", level: BEST, workers: 0, chunk: 512 },
    { checkpoint: "A", level: OTHER, workers: 2, chunk: 64 },
    { checkpoint: "B", level: OTHER, workers: 0, chunk: 7 },
    { checkpoint: "B", level: BEST, workers: 3, chunk: 100 },
  ])(
    "are met by the documented command and processes at level $level, checkpoint $checkpoint, with $workers expert workers",
    ({ checkpoint, level, workers, chunk }) => expectRight("by processes", { checkpoint, workers, level, activation }, [chunk]),
    180_000,
  );

  // Experts that are not quantised are refused with int8 activations.
  it.each(activation === "int8" ? ["A-sharded"] : ["A-sharded", "A-bf16"])(
    "are met by the checkpoint %s",
    (checkpoint) => expectRight("here", { checkpoint, workers: 2, level: BEST, activation }, [64]),
    120_000,
  );
});

describe("the golden continuations, through the gateway", () => {
  let cluster: ClusterHandle;
  beforeAll(async () => {
    cluster = await startCluster({ model: join(fixtures, "ckpt", "B"), expertWorkers: 2, activation: "f32" });
  }, 60_000);
  afterAll(() => cluster?.close());

  it.each(goldenCases().filter(({ checkpoint }) => checkpoint === "B"))(
    "are exact for $name",
    async ({ name, tokens, greedy }) => {
      const body = { model: "B", prompt: tokens, max_tokens: 32, temperature: 0, ignore_eos: true, logprobs: 1 };
      const response = await fetch(`${cluster.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      const answer = (await response.json()) as { choices: { token_ids: number[]; logprobs: { token_logprobs: number[] } }[] };
      expect(response.status, JSON.stringify(answer)).toBe(200);
      const golden = readGolden(name);
      const logits = golden.get("greedy_top20_logits")?.values ?? [];
      const lse = golden.get("greedy_lse")?.values ?? [];
      expect(answer.choices[0]?.token_ids).toEqual(greedy);
      answer.choices[0]?.logprobs.token_logprobs.forEach((logprob, index) => {
        expect(Math.abs(logprob - (Number(logits[index * 20]) - Number(lse[index]))), `token ${index}`).toBeLessThan(1e-3);
      });
    },
  );
});
