import type { MessageHeader } from "./header.js";
import type { RepairCounts, RepairKind } from "./repairs.js";
import {
  finish,
  type HarmonyEvent,
  INITIAL_STATES,
  type MessageEnd,
  type ParserInput,
  type ParserState,
  type Step,
  transition,
} from "./transition.js";

export interface ParserOptions {
  /** What comes before the first input: a prompt that ends with `<|start|>assistant` (default), or nothing. */
  readonly from?: keyof typeof INITIAL_STATES;
}

/** Reads harmony token by token. Never throws, never delivers markup; what it repaired is counted. */
export class HarmonyParser {
  private state: ParserState;
  private readonly counts = new Map<RepairKind, number>();

  constructor(options: ParserOptions = {}) {
    this.state = INITIAL_STATES[options.from ?? "completion"];
  }

  /** What one input brings about. */
  push(input: ParserInput): readonly HarmonyEvent[] {
    return this.apply(transition(this.state, input));
  }

  /** What is left when generation ended, for whatever reason. */
  end(): readonly HarmonyEvent[] {
    return this.apply(finish(this.state));
  }

  /** Whether a token that stops sampling was read. */
  get stopped(): boolean {
    return this.state.name === "stopped";
  }

  get repairs(): RepairCounts {
    return Object.fromEntries(this.counts);
  }

  private apply(step: Step): readonly HarmonyEvent[] {
    this.state = step.state;
    for (const kind of step.repairs) this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    return step.events;
  }
}

export interface ParsedMessage extends MessageHeader {
  readonly content: string;
  readonly end: MessageEnd;
}

/** Parses inputs that are all there. */
export function parseMessages(inputs: Iterable<ParserInput>, options: ParserOptions = {}): ParsedMessage[] {
  const parser = new HarmonyParser(options);
  const messages: ParsedMessage[] = [];
  let content = "";
  const collect = (events: readonly HarmonyEvent[]) => {
    for (const event of events) {
      if ("text" in event) content += event.text;
      if (event.type !== "message-end") continue;
      messages.push({ ...event.header, content, end: event.end });
      content = "";
    }
  };
  for (const input of inputs) collect(parser.push(input));
  collect(parser.end());
  return messages;
}
