import type { GoldenTensor } from "./safetensors.js";

export type GoldenMode = "fp32" | "bf16";

/** What an engine computed, by the keys that fixtures/golden/check.py lists; any subset. Flat, row-major. */
export type GoldenResults = Readonly<Record<string, ArrayLike<number>>>;

export interface GoldenCheck {
  readonly name: string;
  readonly value: number;
  readonly bound: number;
  readonly ok: boolean;
  /** A soft bound may be exceeded in few cases: see {@link judgeGolden}. */
  readonly hard: boolean;
}

/** The tolerances of fixtures/golden/check.py. */
export const GOLDEN_BOUNDS = {
  fp32Abs: 1e-3,
  lastRms: 0.15,
  lastMax: 0.6,
  probeMedian: 0.15,
  probeP90: 0.8,
  argmax: 0.8,
  argmaxClear: 0.95,
  clearGap: 0.5,
  forced: 0.8,
  logprobMedian: 0.12,
  routerSets: 0.8,
  hardCases: 0.15,
} as const;

const PROBES = 32;
const EXPERTS_PER_TOKEN = 4;

/** Keys of real numbers, and the golden key that each is compared with. */
const REAL_KEYS: readonly (readonly [string, string])[] = [
  ["logits_last", "logits_last"],
  ["logits_all", "logits_all"],
  ["forced_last_logits", "greedy_last_logits"],
  ["probe_logits", "probe_logits"],
  ["lse", "lse"],
  ["logprob_next", "logprob_next"],
  ["resid_last", "resid_last"],
  ["resid_attn_last", "resid_attn_last"],
];
const TOKEN_KEYS: readonly (readonly [string, string])[] = [
  ["argmax", "argmax"],
  ["greedy", "greedy"],
  ["forced_argmax", "greedy"],
];

/** Compares one case, as check.py does. An empty answer means that no known key was given. */
export function compareGolden(
  golden: ReadonlyMap<string, GoldenTensor>,
  got: GoldenResults,
  mode: GoldenMode,
): readonly GoldenCheck[] {
  const { checks, fitting } = checkSizes(golden, got);
  return [...checks, ...(mode === "fp32" ? compareFp32(golden, fitting) : compareBf16(golden, fitting))];
}

/** Whether all cases together pass: no hard bound is exceeded, and soft ones in 15 % of the cases at most (at least one may). */
export function judgeGolden(cases: readonly (readonly GoldenCheck[])[]): boolean {
  const compared = cases.filter((checks) => checks.length > 0);
  const hard = compared.some((checks) => checks.some((check) => check.hard && !check.ok));
  const soft = compared.filter((checks) => checks.some((check) => !check.hard && !check.ok)).length;
  const allowed = Math.max(1, Math.floor(GOLDEN_BOUNDS.hardCases * compared.length));
  return compared.length > 0 && !hard && soft <= allowed;
}

/** The checks that failed, one a line: for the message of a failed test. */
export function describeGolden(checks: readonly GoldenCheck[]): string {
  const failed = checks.filter((check) => !check.ok);
  return failed.map(({ name, value, bound, hard }) => `${name}: ${value} (${hard ? "bound" : "soft bound"} ${bound})`).join("\n");
}

function checkSizes(golden: ReadonlyMap<string, GoldenTensor>, got: GoldenResults) {
  const goldenKeys = new Map([...REAL_KEYS, ...TOKEN_KEYS]);
  const checks: GoldenCheck[] = [];
  const fitting = new Map<string, ArrayLike<number>>();
  for (const [key, values] of Object.entries(got)) {
    const want = golden.get(goldenKeys.get(key) ?? key)?.values.length;
    if (want === undefined || want === values.length) fitting.set(key, values);
    else checks.push({ name: `${key} size`, value: values.length, bound: want, ok: false, hard: true });
  }
  return { checks, fitting };
}

type Fitting = ReadonlyMap<string, ArrayLike<number>>;

function compareFp32(golden: ReadonlyMap<string, GoldenTensor>, got: Fitting): GoldenCheck[] {
  const checks: GoldenCheck[] = [];
  for (const [key, goldenKey] of REAL_KEYS) {
    const [values, want] = [got.get(key), golden.get(goldenKey)?.values];
    if (values === undefined || want === undefined) continue;
    const scale = key.startsWith("resid") ? Math.max(1, maxAbs(want)) : 1;
    checks.push(atMost(`${key} max|d|`, maxDifference(values, want), GOLDEN_BOUNDS.fp32Abs * scale));
  }
  for (const [key, goldenKey] of TOKEN_KEYS) {
    const values = got.get(key);
    if (values !== undefined) checks.push(atLeast(`${key} agree`, agreement(values, valuesOf(golden, goldenKey)), 1));
  }
  const experts = got.get("router_idx");
  if (experts !== undefined) checks.push(atLeast("router sets agree", setAgreement(experts, valuesOf(golden, "router_idx")), 1));
  return checks;
}

function compareBf16(golden: ReadonlyMap<string, GoldenTensor>, got: Fitting): GoldenCheck[] {
  return [...compareLastLogits(golden, got), ...compareProbes(golden, got), ...compareTokens(golden, got)];
}

function compareLastLogits(golden: ReadonlyMap<string, GoldenTensor>, got: Fitting): GoldenCheck[] {
  const pairs = [
    ["logits_last", "logits_last"],
    ["forced_last_logits", "greedy_last_logits"],
  ] as const;
  return pairs.flatMap(([key, goldenKey]) => {
    const values = got.get(key);
    if (values === undefined) return [];
    const want = valuesOf(golden, goldenKey);
    return [
      atMost(`${key} rms d`, rms(values, want), GOLDEN_BOUNDS.lastRms, false),
      atMost(`${key} max|d|`, maxDifference(values, want), GOLDEN_BOUNDS.lastMax, false),
    ];
  });
}

function compareProbes(golden: ReadonlyMap<string, GoldenTensor>, got: Fitting): GoldenCheck[] {
  const checks: GoldenCheck[] = [];
  const positions = valuesOf(golden, "tokens").length;
  const probes = got.get("probe_logits");
  if (probes !== undefined) {
    const want = Array.from(valuesOf(golden, "probe_logits"));
    const values = Array.from(probes);
    const part = (all: readonly number[], index: number) => all.slice(index * PROBES, (index + 1) * PROBES);
    const differences = Array.from({ length: positions }, (_, index) => rms(part(values, index), part(want, index)));
    checks.push(atMost("probe rms d, median over positions", quantile(differences, 0.5), GOLDEN_BOUNDS.probeMedian));
    if (positions >= 50) checks.push(atMost("probe rms d, 90th percentile", quantile(differences, 0.9), GOLDEN_BOUNDS.probeP90));
  }
  const logprobs = got.get("logprob_next");
  if (logprobs !== undefined && positions >= 50) {
    const want = valuesOf(golden, "logprob_next");
    const differences = Array.from(logprobs, (value, index) => Math.abs(value - (want[index] ?? Number.NaN)));
    checks.push(atMost("logprob_next |d|, median", quantile(differences, 0.5), GOLDEN_BOUNDS.logprobMedian));
  }
  return checks;
}

function compareTokens(golden: ReadonlyMap<string, GoldenTensor>, got: Fitting): GoldenCheck[] {
  const checks: GoldenCheck[] = [];
  const positions = valuesOf(golden, "tokens").length;
  const argmax = got.get("argmax");
  if (argmax !== undefined) {
    const want = valuesOf(golden, "argmax");
    if (positions >= 16) checks.push(atLeast("argmax agree", agreement(argmax, want), GOLDEN_BOUNDS.argmax));
    const clear = Array.from(valuesOf(golden, "argmax_gap")).flatMap((gap, index) =>
      gap >= GOLDEN_BOUNDS.clearGap ? [index] : [],
    );
    const share = clear.filter((index) => argmax[index] === want[index]).length / clear.length;
    if (clear.length >= 16) checks.push(atLeast("argmax agree where the gap is clear", share, GOLDEN_BOUNDS.argmaxClear));
  }
  const forced = got.get("forced_argmax");
  if (forced !== undefined) {
    checks.push(atLeast("forced argmax agree", agreement(forced, valuesOf(golden, "greedy")), GOLDEN_BOUNDS.forced, false));
  }
  const experts = got.get("router_idx");
  if (experts !== undefined && positions >= 16) {
    checks.push(atLeast("router sets agree", setAgreement(experts, valuesOf(golden, "router_idx")), GOLDEN_BOUNDS.routerSets));
  }
  return checks;
}

function valuesOf(golden: ReadonlyMap<string, GoldenTensor>, key: string): ArrayLike<number> {
  const tensor = golden.get(key);
  if (tensor === undefined) throw new Error(`the golden file lacks ${key}`);
  return tensor.values;
}

function atMost(name: string, value: number, bound: number, hard = true): GoldenCheck {
  return { name, value, bound, ok: value <= bound, hard };
}

function atLeast(name: string, value: number, bound: number, hard = true): GoldenCheck {
  return { name, value, bound, ok: value >= bound, hard };
}

function maxAbs(values: ArrayLike<number>): number {
  return Array.from(values).reduce((max, value) => Math.max(max, Math.abs(value)), 0);
}

/** A value that is not a number counts as infinitely far. */
function maxDifference(left: ArrayLike<number>, right: ArrayLike<number>): number {
  let max = 0;
  for (let index = 0; index < right.length; index += 1) {
    const difference = Math.abs((left[index] ?? Number.NaN) - (right[index] ?? Number.NaN));
    if (Number.isNaN(difference)) return Number.POSITIVE_INFINITY;
    max = Math.max(max, difference);
  }
  return max;
}

function rms(left: ArrayLike<number>, right: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < right.length; index += 1) sum += ((left[index] ?? Number.NaN) - (right[index] ?? Number.NaN)) ** 2;
  return Number.isNaN(sum) ? Number.POSITIVE_INFINITY : Math.sqrt(sum / Math.max(1, right.length));
}

function quantile(values: readonly number[], q: number): number {
  const sorted = values.map((value) => (Number.isNaN(value) ? Number.POSITIVE_INFINITY : value)).sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.POSITIVE_INFINITY;
}

function agreement(left: ArrayLike<number>, right: ArrayLike<number>): number {
  return Array.from(right).filter((value, index) => value === left[index]).length / right.length;
}

function setAgreement(left: ArrayLike<number>, right: ArrayLike<number>): number {
  const sets = (values: ArrayLike<number>) =>
    Array.from({ length: values.length / EXPERTS_PER_TOKEN }, (_, index) =>
      Array.from({ length: EXPERTS_PER_TOKEN }, (_unused, choice) => values[index * EXPERTS_PER_TOKEN + choice] ?? -1)
        .sort((a, b) => a - b)
        .join(),
    );
  const [chosen, wanted] = [sets(left), sets(right)];
  return wanted.filter((set, index) => set === chosen[index]).length / wanted.length;
}
