import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { attentionWorkerConfigSchema } from "../../services/attention-worker/src/config.js";
import { gatewayConfigSchema } from "../../services/gateway/src/config.js";
import { routerConfigSchema } from "../../services/router/src/config.js";
import { CHART } from "./helm.js";
import { PLANS, planned } from "./plans.js";
import { valuesFaults } from "./values-schema.js";

const folder = mkdtempSync(join(tmpdir(), "moiety-plan-values-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Values of a plan for a described fleet. */
async function plannedFor(fleet: object, ...argv: readonly string[]) {
  const file = join(folder, "fleet.json");
  writeFileSync(file, JSON.stringify(fleet));
  return parse(await planned("--fleet", file, ...argv));
}

/** Variables as a process gets them. */
const environmentOf = (config: Readonly<Record<string, unknown>> = {}) =>
  Object.fromEntries(Object.entries(config).map(([name, value]) => [name, String(value)]));

describe("the check of values against the chart's schema", () => {
  it("finds unknown names, wrong types, and variables that the chart sets itself", () => {
    expect(valuesFaults({ attention: { replicas: 1, config: { MOIETY_KV_TOKENS: 1 } }, expertPools: [{ name: "a" }] })).toEqual(
      [],
    );
    expect(valuesFaults({ attention: { replicsa: 1 } })).toHaveLength(1);
    expect(valuesFaults({ attention: { replicas: "1" } })).toHaveLength(1);
    expect(valuesFaults({ attention: { config: { MOIETY_THREADS: 1 } } })).toHaveLength(1);
    expect(valuesFaults({ expertPools: [{ name: "A" }] })).toHaveLength(1);
    expect(valuesFaults({ expertPools: [{ name: "a", slots: 1 }] })).toHaveLength(1);
  });
});

describe("moiety plan --values", () => {
  it("gives what values-120b-4x24gb.yaml says", async () => {
    const file = parse(readFileSync(join(CHART, "values-120b-4x24gb.yaml"), "utf8"));
    const [command] = /moiety plan .*--values/.exec(readFileSync(join(CHART, "values-120b-4x24gb.yaml"), "utf8")) ?? [];
    const argv = command?.split(" ").slice(2, -1) ?? [];
    expect(file).toMatchObject(parse(await planned(...argv)));
    expect(argv).toEqual(expect.arrayContaining(["120b", "rtx-4090"]));
  });

  it.each(Object.entries(PLANS))("gives values that the chart and the processes take: %s", async (_, argv) => {
    const values = parse(await planned(...argv));
    expect(valuesFaults(values)).toEqual([]);
    const environment = { MOIETY_MODEL: "m", MOIETY_ROUTER_ADDRESS: "router:7070", ...environmentOf(values.attention.config) };
    expect(attentionWorkerConfigSchema.safeParse(environment).error).toBeUndefined();
    expect(routerConfigSchema.safeParse(environmentOf(values.router.config)).error).toBeUndefined();
    const gateway = { MOIETY_MODEL: "m", ...environmentOf(values.gateway?.config) };
    expect(gatewayConfigSchema.safeParse(gateway).error).toBeUndefined();
  });

  it("makes a pool of each group of the fleet, and GPUs and threads of its devices", async () => {
    const own = { memoryBytes: 64e9, readGbPerSecond: 200, bf16GflopPerSecond: 3_000 };
    const fleet = {
      attention: [{ device: "h100", count: 2 }],
      experts: [
        { name: "gpu", device: "l4", count: 3 },
        { name: "cpu", device: { ...own, threads: 32 }, count: 2 },
        { name: "own-gpu", device: { ...own, kind: "gpu" } },
      ],
    };
    const { attention, expertPools, router } = await plannedFor(fleet, "--shape", "20b", "--replicas", "2");
    expect(router.config).toEqual({ MOIETY_REPLICAS: 2 });
    expect(attention).toMatchObject({ replicas: 2, gpus: 1, config: { MOIETY_KV_TOKENS: 32 * 4_096, MOIETY_MAX_SEQUENCES: 32 } });
    expect(expertPools).toMatchObject([
      { name: "gpu", replicas: 3, gpus: 1, threads: 4 },
      { name: "cpu", replicas: 2, gpus: 0, threads: 32, resources: { requests: { cpu: "32" } } },
      { name: "own-gpu", replicas: 1, gpus: 1 },
    ]);
  });

  it("has room for the experts of a worker that is away, where the memory is there", async () => {
    const slots = async (...argv: readonly string[]) => parse(await planned(...argv)).expertPools[0].capacitySlots;
    const shape = ["--shape", "120b", "--batch", "1"];
    expect(await slots(...shape, "--device", "h100", "--experts", "3")).toBe((36 * 128) / 2);
    expect(await slots(...shape, "--device", "l4", "--experts", "3")).toBe((36 * 128) / 3);
    expect(await slots(...shape, "--device", "h100", "--experts", "1")).toBe(36 * 128);
    expect(await slots(...shape, "--device", "h100", "--experts", "5", "--replicas", "2")).toBe((36 * 128 * 2) / 4);
  });

  it("lets gateways take as many requests as the fleet computes at once", async () => {
    const gateway = async (batch: number) => {
      const argv = ["--shape", "20b", "--device", "h200", "--attention", "16", "--context", "256", "--batch", String(batch)];
      return parse(await planned(...argv)).gateway;
    };
    expect(await gateway(4_096)).toBeUndefined();
    expect(await gateway(16_384)).toEqual({ replicas: 4, config: { MOIETY_MAX_REQUESTS: 16_384 } });
  });

  it("asks for memory of weights and cache, and limits it to that and what is kept free", async () => {
    const { attention, expertPools } = parse(
      await planned("--shape", "120b", "--device", "l4", "--experts", "3", "--batch", "1"),
    );
    // 1,536 experts of 13,236,480 bytes are 18.94 GiB; a tenth of 24 GB is 2.24 GiB.
    expect(expertPools[0].resources).toMatchObject({ requests: { memory: "19Gi" }, limits: { memory: "22Gi" } });
    // 4.26 GB of weights are 3.96 GiB, and the cache of 4,096 tokens 0.15 GiB.
    expect(attention.resources).toMatchObject({ requests: { memory: "5Gi" }, limits: { memory: "7Gi" } });
  });

  it("takes the fewest expert workers that hold the model, or a described fleet as it is", async () => {
    const replicas = async (...argv: readonly string[]) => parse(await planned(...argv)).expertPools[0].replicas;
    expect(await replicas("--shape", "120b", "--device", "l4", "--batch", "1")).toBe(3);
    expect(await replicas("--shape", "120b", "--device", "l4", "--batch", "1", "--experts", "2,7,9")).toBe(7);
    await expect(
      plannedFor({ attention: [{ device: "l4" }], experts: [{ device: "l4" }] }, "--shape", "120b", "--batch", "1"),
    ).rejects.toThrow("with 1 expert worker, experts lacks");
  });

  it("says in a comment which checkpoint and fleet it is for", async () => {
    const text = await planned("--shape", "20b", "--device", "laptop", "--batch", "4");
    const comment = text.split("\n").filter((line) => line.startsWith("#"));
    expect(comment.join("\n")).toMatch(
      /gpt-oss-20b.*\n# - attention: 1 x CPU with 32\.0 GB\n# - experts: 1 x CPU.*\n# for 4 sequences of 4096 tokens/,
    );
    expect(text).not.toContain("no GPU code");
  });

  it.each([
    [
      ["--shape", "120b", "--device", "l4", "--experts", "1,2"],
      /does not hold gpt-oss-120b: with 2 expert workers, .*lacks \d+ bytes/,
    ],
    [["--shape", "120b", "--device", "laptop", "--one-machine"], "cannot be used with option '--one-machine'"],
    [["--check", "here.json"], "cannot be used with option '--check"],
    [["--shape", "20b", "--device", "h200", "--json"], "cannot be used with option '--values'"],
    [["--shape", "20b", "--device", "h200", "--batch", "5000", "--context", "1"], "at most 4096 sequences"],
  ])("refuses %j", async (argv, message) => {
    await expect(planned(...argv)).rejects.toThrow(message);
  });

  it.each([
    [{ attention: [{ device: "l4" }], experts: [{ name: "Big", device: "l4" }] }, 'found "Big"'],
    [{ attention: [{ device: "l4" }, { device: "h100" }], experts: [{ device: "l4" }] }, "attention workers of one kind"],
    [{ attention: [{ device: "h100" }], experts: ["l4", "h100"].map((device) => ({ name: "a", device })) }, "all named a"],
    [{ attention: [{ device: "l4" }], experts: [{ device: "l4" }], oneMachine: true }, "--one-machine"],
  ])("refuses the fleet %j", async (fleet, message) => {
    await expect(plannedFor(fleet, "--shape", "20b", "--batch", "1")).rejects.toThrow(message);
  });
});
