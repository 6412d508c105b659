import { AppError } from "@moiety/core";
import { type EbnfNode, type EbnfRule, parseEbnf } from "./ebnf-parser.js";
import { larkString } from "./lark.js";

/** Whether a grammar is written with `::=`, as llama.cpp's GBNF and XGrammar's EBNF are. */
export function isEbnf(grammar: string): boolean {
  return /^[ \t]*[A-Za-z_][\w-]*[ \t]*::=/m.test(grammar);
}

/**
 * The same language in Lark. Rules that are regular become terminals, each one lexeme; the others stay rules.
 * @throws AppError INVALID_ARGUMENT that names the line, or the rule that is missing or there twice.
 */
export function larkFromEbnf(grammar: string): string {
  const rules = parseEbnf(grammar);
  const byName = new Map<string, EbnfRule>();
  for (const rule of rules) {
    if (byName.has(rule.name)) throw fault(`rule ${rule.name} is there twice`);
    byName.set(rule.name, rule);
  }
  if (!byName.has("root")) throw fault("expected a rule named root");
  for (const rule of rules) {
    const missing = refsOf(rule.body).find((name) => !byName.has(name));
    if (missing !== undefined) throw fault(`rule ${missing}, which ${rule.name} refers to, is missing`);
  }
  const regular = regularRules(rules);
  const nameOf = new Map(rules.map(({ name }, index) => [name, larkName(name, index, regular.has(name))]));
  const spell = (node: EbnfNode) => lark(node, nameOf);
  return [`start: ${nameOf.get("root")}`, ...rules.map(({ name, body }) => `${nameOf.get(name)}: ${spell(body)}`)].join("\n");
}

/** Names in Lark say what they are: capitals name terminals. The number keeps apart what differs in capitals only. */
function larkName(name: string, index: number, terminal: boolean): string {
  const plain = `g_${name.toLowerCase().replaceAll("-", "_")}_${index}`;
  return terminal ? plain.toUpperCase() : plain;
}

function refsOf(node: EbnfNode): readonly string[] {
  switch (node.kind) {
    case "ref":
      return [node.name];
    case "sequence":
    case "choice":
      return node.nodes.flatMap(refsOf);
    case "repeat":
      return refsOf(node.node);
    case "text":
    case "characters":
      return [];
  }
}

/** Rules that refer, directly or not, to no rule that refers to itself. */
function regularRules(rules: readonly EbnfRule[]): ReadonlySet<string> {
  const open = new Map(rules.map(({ name, body }) => [name, new Set(refsOf(body))]));
  const users = new Map<string, string[]>();
  for (const [name, refs] of open) for (const ref of refs) users.set(ref, [...(users.get(ref) ?? []), name]);
  const ready = [...open].filter(([, refs]) => refs.size === 0).map(([name]) => name);
  const regular = new Set<string>();
  for (let name = ready.pop(); name !== undefined; name = ready.pop()) {
    regular.add(name);
    for (const user of users.get(name) ?? []) {
      const refs = open.get(user);
      if (refs?.delete(name) && refs.size === 0) ready.push(user);
    }
  }
  return regular;
}

function lark(node: EbnfNode, nameOf: ReadonlyMap<string, string>): string {
  switch (node.kind) {
    case "text":
      return larkString(node.text);
    case "characters":
      return `/${node.regex}/`;
    case "ref":
      return nameOf.get(node.name) ?? "";
    case "sequence":
      return node.nodes.length === 0 ? '""' : node.nodes.map((each) => lark(each, nameOf)).join(" ");
    case "choice":
      return `(${node.nodes.map((each) => lark(each, nameOf)).join(" | ")})`;
    case "repeat":
      return `(${lark(node.node, nameOf)})${times(node.min, node.max)}`;
  }
}

function times(min: number, max: number | undefined): string {
  if (max === undefined && min < 2) return min === 0 ? "*" : "+";
  return min === 0 && max === 1 ? "?" : `{${min},${max ?? ""}}`;
}

const fault = (message: string): AppError => new AppError("INVALID_ARGUMENT", message);
