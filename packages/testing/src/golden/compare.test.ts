import { describe, expect, it } from "vitest";
import { compareGolden, describeGolden, type GoldenMode, judgeGolden } from "./compare.js";
import { goldenCases, goldenNames, readGolden, readGoldenUnits } from "./fixtures.js";

const golden = readGolden("A_100");
const values = (key: string) => Array.from(golden.get(key)?.values ?? []);
const failed = (got: Record<string, number[]>, mode: GoldenMode) =>
  compareGolden(golden, got, mode)
    .filter(({ ok }) => !ok)
    .map(({ name }) => name);

describe("the golden fixtures", () => {
  it("have a file for every case, with the same tokens", () => {
    expect(
      goldenCases()
        .map(({ name }) => name)
        .sort(),
    ).toEqual(goldenNames());
    for (const { name, tokens, greedy } of goldenCases()) {
      expect(Array.from(readGolden(name).get("tokens")?.values ?? [])).toEqual(tokens);
      expect(Array.from(readGolden(name).get("greedy")?.values ?? [])).toEqual(greedy);
    }
  });

  it("have shapes that fit their values", () => {
    for (const [name, tensor] of [...golden, ...readGoldenUnits()]) {
      expect(tensor.values.length, name).toBe(tensor.shape.reduce((product, size) => product * size, 1));
    }
  });
});

describe("compareGolden", () => {
  const keys = ["logits_last", "probe_logits", "lse", "logprob_next", "argmax", "router_idx", "resid_last", "greedy"];
  const same = Object.fromEntries(keys.map((key) => [key, values(key)]));

  it.each(["fp32", "bf16"] as const)("passes the reference's own float32 results in mode %s", (mode) => {
    const checks = compareGolden(golden, same, mode);
    expect(describeGolden(checks)).toBe("");
    expect(checks.length).toBeGreaterThan(6);
  });

  it("passes the reference's bf16 results in mode bf16, and not in mode fp32", () => {
    const bf16 = Object.fromEntries(
      ["logits_last", "probe_logits", "argmax", "router_idx"].map((key) => [key, values(`bf16.${key}`)]),
    );
    expect(failed(bf16, "bf16")).toEqual([]);
    expect(failed(bf16, "fp32")).toContain("logits_last max|d|");
  });

  it("fails one logit that is off by more than 1e-3, and one that is not a number", () => {
    const shifted = [...values("logits_last")];
    shifted[7] = (shifted[7] ?? 0) + 2e-3;
    expect(failed({ logits_last: shifted }, "fp32")).toEqual(["logits_last max|d|"]);
    shifted[7] = Number.NaN;
    expect(failed({ logits_last: shifted }, "fp32")).toEqual(["logits_last max|d|"]);
  });

  it("fails one wrong token, one wrong expert and a missing value", () => {
    const [greedy, experts] = [values("greedy"), values("router_idx")];
    expect(failed({ greedy: [...greedy.slice(0, 31), (greedy[31] ?? 0) + 1] }, "fp32")).toEqual(["greedy agree"]);
    expect(failed({ router_idx: [99, ...experts.slice(1)] }, "fp32")).toEqual(["router sets agree"]);
    expect(failed({ greedy: greedy.slice(1) }, "fp32")).toEqual(["greedy size"]);
  });

  it("does not mind the order of the experts of a token", () => {
    const experts = values("router_idx");
    expect(failed({ router_idx: [...experts.slice(0, 4).reverse(), ...experts.slice(4)] }, "fp32")).toEqual([]);
  });

  it("lets one case of a few exceed a soft bound, but no hard one, and not two", () => {
    const soft = { name: "s", value: 1, bound: 0, ok: false, hard: false };
    const good = { ...soft, ok: true };
    expect(judgeGolden([[soft], [good], [good]])).toBe(true);
    expect(judgeGolden([[soft], [soft], [good]])).toBe(false);
    expect(judgeGolden([[{ ...soft, hard: true }], [good]])).toBe(false);
    expect(judgeGolden([])).toBe(false);
  });
});
