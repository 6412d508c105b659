import type { Rule, RuleFile } from "./observed.js";

/** What takes five minutes in the shipped rules takes five seconds here. */
const TIMES_FASTER = 60;
/** A rate needs several scrapes, which are a second apart. */
const LEAST_WINDOW_S = 5;
const LEAST_FOR_S = 2;
const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

function shorten(duration: string, leastS: number): string {
  const [, count = "", unit = ""] = /^(\d+)([smhd])$/.exec(duration) ?? [];
  const seconds = Number(count) * (SECONDS[unit] ?? Number.NaN);
  if (Number.isNaN(seconds)) throw new Error(`a rule has a duration that is not understood: ${duration}`);
  return `${Math.max(leastS, Math.ceil(seconds / TIMES_FASTER))}s`;
}

function shortenRule(rule: Rule): Rule {
  return {
    ...rule,
    expr: rule.expr.replace(/\[(\w+)\]/g, (_, window: string) => `[${shorten(window, LEAST_WINDOW_S)}]`),
    ...(rule.for === undefined ? {} : { for: shorten(rule.for, LEAST_FOR_S) }),
  };
}

/** The same rules with all their windows and patience shortened alike; thresholds stay what they are. */
export function shortenRules({ groups }: RuleFile): RuleFile {
  return { groups: groups.map((group) => ({ ...group, rules: group.rules.map(shortenRule) })) };
}
