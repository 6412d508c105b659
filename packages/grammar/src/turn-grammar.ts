import { ANY_TEXT, type ContentGrammar, contentPart, type GrammarPart, grammarText, type JsonSchema } from "./content-grammar.js";
import { larkString } from "./lark.js";

export interface CallShape {
  /** Letters, digits, underscores and dashes. */
  readonly name: string;
  readonly parameters: JsonSchema;
}

/** How the assistant's turn may go on after `<|start|>assistant`. */
export interface TurnShape {
  /** What the final channel holds. Absent: the turn must end in a call. */
  readonly answer?: ContentGrammar;
  /** The calls that the turn may end in. */
  readonly calls: readonly CallShape[];
  /** Whether the call that ends the turn may have others before it. */
  readonly severalCalls: boolean;
  /** Whether words to the user may come before the end, on the commentary channel. */
  readonly preambles: boolean;
}

/** Messages before the one that ends the turn: a model must not think for ever. */
export const MAX_NOTES = 16;
/** Calls of one turn. */
export const MAX_CALLS = 32;

/**
 * The grammar of a harmony turn. Thoughts and preambles are free but for their markup; the last message is an answer or a call, its
 * header is forced, and its end comes when its content is whole. Headers are spelled as the model spells them.
 * @throws AppError INVALID_ARGUMENT for a content that no grammar may hold.
 */
export function turnGrammar({ answer, calls, severalCalls, preambles }: TurnShape): string {
  const endings = [...(answer === undefined ? [] : ["final"]), ...(calls.length === 0 ? [] : ["calls"])];
  const { schemas, placeOf } = distinct(calls);
  const notes = ["analysis", ...(preambles ? ["commentary"] : [])];
  const rules = [
    `start: (note <|end|> <|start|> "assistant"){0,${MAX_NOTES}} ending`,
    `note: ${notes.map((channel) => `<|channel|> ${larkString(channel)} <|message|> TEXT`).join(" | ")}`,
    `ending: ${endings.join(" | ")}`,
    ...(answer === undefined ? [] : [finalRule(answer)]),
    ...(calls.length === 0 ? [] : callsRules(calls.length, severalCalls)),
    ...calls.map((call, index) => callRule(`call${index}`, call.name, `@args${placeOf(call)}`)),
    `TEXT: ${ANY_TEXT}`,
  ];
  const parts: GrammarPart[] = [
    { lark_grammar: rules.join("\n") },
    ...(answer === undefined || answer.kind === "text" ? [] : [contentPart(answer, "answer")]),
    ...schemas.map((schema, index) => contentPart({ kind: "json", schema }, `args${index}`)),
  ];
  return grammarText(parts);
}

/** Functions may have the same parameters, or may be called with any object: that is compiled once. */
function distinct(calls: readonly CallShape[]) {
  const keyOf = ({ parameters }: CallShape) => JSON.stringify(parameters);
  const schemas = new Map(calls.map((call) => [keyOf(call), call.parameters]));
  const places = new Map([...schemas.keys()].map((key, place) => [key, place]));
  return { schemas: [...schemas.values()], placeOf: (call: CallShape) => places.get(keyOf(call)) ?? 0 };
}

function finalRule(answer: ContentGrammar): string {
  const content = answer.kind === "text" ? "TEXT" : "@answer";
  const constrained = answer.kind === "json" ? ' (" "? <|constrain|> "json")?' : "";
  return `final: <|channel|> "final"${constrained} <|message|> ${content} <|return|>`;
}

/** Only the last call ends in `<|call|>`, at which generation stops. */
function callsRules(count: number, several: boolean): readonly string[] {
  const before = several ? `(call <|end|> <|start|> "assistant"){0,${MAX_CALLS - 1}} ` : "";
  return [`calls: ${before}call <|call|>`, `call: ${Array.from({ length: count }, (_, index) => `call${index}`).join(" | ")}`];
}

/** The recipient comes after the channel or before it: the model was trained on both. */
function callRule(rule: string, name: string, args: string): string {
  const recipient = `to=functions.${name}`;
  const content = `<|message|> ${args}`;
  const after = `<|channel|> ${larkString(`commentary ${recipient} `)} <|constrain|> "json" ${content}`;
  const before = `${larkString(` ${recipient}`)} <|channel|> "commentary" (" " <|constrain|> "json" | " json") ${content}`;
  return `${rule}: ${after} | ${before}`;
}
