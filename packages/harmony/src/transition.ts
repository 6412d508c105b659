import { completeHeader } from "./complete-header.js";
import { type HeaderDraft, type HeaderSection, type MessageHeader, readSection } from "./header.js";
import type { RepairKind } from "./repairs.js";

/** One token as the parser sees it. `name` may be any special token of the vocabulary. */
export type ParserInput = { readonly kind: "special"; readonly name: string } | { readonly kind: "text"; readonly text: string };

/** How a message ended; `cut`: by a token limit, or by a next message with no end before it. */
export type MessageEnd = "end" | "return" | "call" | "cut";

export type StopReason = "return" | "call" | "end-of-text";

export type HarmonyEvent =
  | { readonly type: "message-start"; readonly header: MessageHeader }
  /** Part of the answer: the final channel. */
  | { readonly type: "text"; readonly text: string }
  /** Part of the thoughts: the analysis channel. */
  | { readonly type: "reasoning"; readonly text: string }
  /** Part of a preamble that is meant for the user: the commentary channel without a recipient. */
  | { readonly type: "commentary"; readonly text: string }
  /** Part of the arguments of a call. */
  | { readonly type: "tool-call"; readonly recipient: string; readonly text: string }
  /** Part of a message of another author than the assistant. */
  | { readonly type: "other"; readonly text: string }
  | { readonly type: "message-end"; readonly header: MessageHeader; readonly end: MessageEnd }
  | { readonly type: "stop"; readonly reason: StopReason };

/**
 * - `between`: no message is open; leaves at `<|start|>`, or at anything that shows that it was forgotten.
 * - `header`: reads a header; leaves at `<|message|>`, or when the text can no longer be a header.
 * - `content`: delivers content; leaves at the end of the message, or at a marker of the next one.
 * - `stopped`: sampling should have ended; never left.
 */
export type ParserState =
  | { readonly name: "between" }
  | { readonly name: "header"; readonly draft: HeaderDraft }
  | { readonly name: "content"; readonly header: MessageHeader }
  | { readonly name: "stopped" };

export interface Step {
  readonly state: ParserState;
  readonly events: readonly HarmonyEvent[];
  readonly repairs: readonly RepairKind[];
}

const BETWEEN: ParserState = { name: "between" };
const NEW_DRAFT: HeaderDraft = { author: "named", section: "role", text: "", parts: {}, marked: false };
const ASSISTANT_DRAFT: HeaderDraft = { ...NEW_DRAFT, author: "assistant" };
const GUESSED_DRAFT: HeaderDraft = { ...NEW_DRAFT, author: "guessed" };

/** Where parsing begins: after a prompt that ends with `<|start|>assistant`, or before a whole conversation. */
export const INITIAL_STATES = {
  completion: { name: "header", draft: ASSISTANT_DRAFT },
  conversation: BETWEEN,
} as const satisfies Record<string, ParserState>;

/** The next state, and what the input brought about. Never throws. */
export function transition(state: ParserState, input: ParserInput): Step {
  if (input.kind === "text") return input.text === "" ? step(state) : onText(state, input.text);
  switch (state.name) {
    case "between":
      return specialBetween(state, input.name);
    case "header":
      return specialInHeader(state.draft, input.name);
    case "content":
      return specialInContent(state, input.name);
    case "stopped":
      return step(state, [], ["after-stop"]);
  }
}

/** What is left when no more input comes. */
export function finish(state: ParserState): Step {
  if (state.name === "header") return endHeader(state.draft, "cut");
  if (state.name === "content") return step(BETWEEN, [endOf(state.header, "cut")]);
  return step(state);
}

function step(state: ParserState, events: readonly HarmonyEvent[] = [], repairs: readonly RepairKind[] = []): Step {
  return { state, events, repairs };
}

/** Goes on from a step with the special token that led to it. */
function thenSpecial(first: Step, name: string): Step {
  const second = transition(first.state, { kind: "special", name });
  return step(second.state, [...first.events, ...second.events], [...first.repairs, ...second.repairs]);
}

function onText(state: ParserState, text: string): Step {
  switch (state.name) {
    case "content":
      return step(state, [deltaOf(state.header, text)]);
    case "header":
      return textInHeader(state.draft, text);
    case "stopped":
      return step(state, [], ["after-stop"]);
    case "between": {
      const rest = text.trimStart();
      if (rest === "") return step(state);
      const opened = textInHeader(GUESSED_DRAFT, rest);
      return step(opened.state, opened.events, ["missing-start", ...opened.repairs]);
    }
  }
}

/** Reads character by character, so that the outcome does not depend on how the text was cut. */
function textInHeader(draft: HeaderDraft, text: string): Step {
  let current = draft;
  let consumed = 0;
  for (const character of text) {
    current = { ...current, text: current.text + character };
    consumed += character.length;
    if (!readSection(current).plausible) return openContent(current, text.slice(consumed));
  }
  return step({ name: "header", draft: current });
}

/** The header ended without `<|message|>`: what is not certainly header is content. */
function openContent(draft: HeaderDraft, more: string): Step {
  const reading = readSection(draft);
  const { header, repairs } = completeHeader(draft, reading.certain);
  const content = reading.afterCertain + more;
  const events: HarmonyEvent[] = [{ type: "message-start", header }];
  if (content !== "") events.push(deltaOf(header, content));
  return step({ name: "content", header }, events, ["missing-message", ...reading.certainRepairs, ...repairs]);
}

function specialBetween(state: ParserState, name: string): Step {
  switch (name) {
    case "<|start|>":
      return step({ name: "header", draft: NEW_DRAFT });
    case "<|channel|>":
    case "<|constrain|>":
    case "<|message|>": {
      const opened = specialInHeader(ASSISTANT_DRAFT, name);
      return step(opened.state, opened.events, ["missing-start", ...opened.repairs]);
    }
    case "<|end|>":
      return step(state, [], ["doubled-part"]);
    default:
      return stopOr(name, step(state, [], ["stray-token"]));
  }
}

function specialInHeader(draft: HeaderDraft, name: string): Step {
  switch (name) {
    case "<|message|>":
      return closeHeader(draft);
    case "<|channel|>":
      return enterSection(draft, "channel", name);
    case "<|constrain|>":
      return enterSection(draft, "constrain", name);
    case "<|start|>": {
      const ended = endHeader(draft, "cut");
      return step({ name: "header", draft: NEW_DRAFT }, ended.events, [...ended.repairs, "doubled-part"]);
    }
    case "<|end|>":
      return endHeader(draft, "end");
    default:
      return stopOr(name, step({ name: "header", draft }, [], ["stray-token"]), (end) => endHeader(draft, end));
  }
}

function closeHeader(draft: HeaderDraft): Step {
  const reading = readSection(draft);
  const { header, repairs } = completeHeader(draft, reading.parts);
  const events: HarmonyEvent[] = [{ type: "message-start", header }];
  if (reading.unread === "") return step({ name: "content", header }, events, [...reading.repairs, ...repairs]);
  events.push(deltaOf(header, reading.unread));
  return step({ name: "content", header }, events, [...reading.repairs, ...repairs, "stray-text"]);
}

function enterSection(draft: HeaderDraft, section: HeaderSection, marker: string): Step {
  const reading = readSection(draft);
  if (reading.unread !== "") return thenSpecial(openContent(draft, ""), marker);
  const again = draft.section === section || (section === "channel" && reading.parts.channelWord !== undefined);
  const repairs = again ? [...reading.repairs, "doubled-part" as const] : reading.repairs;
  return step({ name: "header", draft: { ...draft, section, text: "", parts: reading.parts, marked: true } }, [], repairs);
}

/** The message ended within its header: a call without arguments, content without `<|message|>`, or nothing at all. */
function endHeader(draft: HeaderDraft, end: MessageEnd): Step {
  const reading = readSection(draft);
  const { channelWord, recipient, contentType } = reading.certain;
  const meant = channelWord !== undefined || recipient !== undefined || contentType !== undefined;
  if (!meant && reading.afterCertain.trim() === "") {
    const untouched = draft.author === "assistant" && !draft.marked && draft.text === "";
    if (untouched) return step(BETWEEN, [], end === "end" ? ["doubled-part"] : []);
    return step(BETWEEN, [], ["missing-message"]);
  }
  const opened = openContent(draft, "");
  if (opened.state.name !== "content") return opened;
  return step(BETWEEN, [...opened.events, endOf(opened.state.header, end)], opened.repairs);
}

function specialInContent(state: ParserState & { name: "content" }, name: string): Step {
  const { header } = state;
  switch (name) {
    case "<|end|>":
      return step(BETWEEN, [endOf(header, "end")]);
    case "<|start|>":
      return step({ name: "header", draft: NEW_DRAFT }, [endOf(header, "cut")], ["missing-end"]);
    case "<|channel|>": {
      const next = specialInHeader(ASSISTANT_DRAFT, name);
      return step(next.state, [endOf(header, "cut")], ["missing-end", "missing-start", ...next.repairs]);
    }
    case "<|message|>":
      return step(state, [], ["doubled-part"]);
    default:
      return stopOr(name, step(state, [], ["stray-token"]), (end) => step(BETWEEN, [endOf(header, end)]));
  }
}

/** Stops at a token that stops sampling, after closing what is open; `otherwise` for any other token. */
function stopOr(name: string, otherwise: Step, close: (end: MessageEnd) => Step = () => step(BETWEEN)): Step {
  const reason = STOP_REASONS.get(name);
  if (reason === undefined) return otherwise;
  const closed = close(reason === "end-of-text" ? "cut" : reason);
  return step({ name: "stopped" }, [...closed.events, { type: "stop", reason }], closed.repairs);
}

const STOP_REASONS: ReadonlyMap<string, StopReason> = new Map([
  ["<|return|>", "return"],
  ["<|call|>", "call"],
  ["<|endoftext|>", "end-of-text"],
]);

function endOf(header: MessageHeader, end: MessageEnd): HarmonyEvent {
  return { type: "message-end", header, end };
}

function deltaOf(header: MessageHeader, text: string): HarmonyEvent {
  if (header.role !== "assistant") return { type: "other", text };
  const recipient = calledTool(header);
  if (recipient !== undefined) return { type: "tool-call", recipient, text };
  if (header.channel === "analysis") return { type: "reasoning", text };
  return { type: header.channel === "commentary" ? "commentary" : "text", text };
}

/** The tool that a message calls, such as `functions.get_weather`; undefined for a message that calls none. */
export function calledTool(header: MessageHeader): string | undefined {
  const { role, recipient } = header;
  return role !== "assistant" || recipient === undefined || NOT_TOOLS.has(recipient) ? undefined : recipient;
}

/** Recipients that are not tools. */
const NOT_TOOLS: ReadonlySet<string> = new Set(["all", "user", "assistant"]);
