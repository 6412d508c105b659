import { createInterface, type Interface } from "node:readline/promises";
import type { Readable, Writable } from "node:stream";
import { AppError } from "@moiety/core";
import type { ChatDelta, ChatSession } from "./chat-session.js";

const HELP = "/reset forgets the conversation, /quit leaves, Ctrl-C stops an answer";
const DIM = "\u001b[2m";
const PLAIN = "\u001b[0m";

export interface TerminalChatOptions {
  readonly session: Pick<ChatSession, "ask" | "reset" | "modelName">;
  readonly input: Readable;
  readonly output: Writable;
  /** Whether a person types: then there is a prompt, and a fault does not end the chat. */
  readonly interactive: boolean;
  readonly colours: boolean;
  readonly showReasoning: boolean;
}

/** Reads messages line by line and prints answers as they come, until /quit or the end of the input. */
export async function chatInTerminal(options: TerminalChatOptions): Promise<void> {
  const { session, input, output, interactive } = options;
  // Before reading begins: a line that comes while nobody iterates is lost.
  if (interactive) output.write(`${await session.modelName()}: ${HELP}\n`);
  const reader = createInterface({ input, output: interactive ? output : undefined, terminal: interactive, prompt: "> " });
  let answering: AbortController | undefined;
  const interrupt = () => {
    if (answering !== undefined) answering.abort();
    else if (interactive) output.write(`\n${HELP}\n${reader.getPrompt()}`);
    else reader.close();
  };
  reader.on("SIGINT", interrupt);
  process.on("SIGINT", interrupt);
  try {
    for await (const line of lines(reader, interactive)) {
      const message = line.trim();
      if (message === "") continue;
      if (message === "/quit") return;
      if (message.startsWith("/")) {
        output.write(`${command(message, session)}\n`);
        continue;
      }
      answering = new AbortController();
      await answer({ ...options, message, signal: answering.signal });
      answering = undefined;
    }
  } finally {
    process.off("SIGINT", interrupt);
    reader.close();
  }
}

async function* lines(reader: Interface, interactive: boolean): AsyncGenerator<string> {
  if (interactive) reader.prompt();
  for await (const line of reader) {
    yield line;
    if (interactive) reader.prompt();
  }
}

function command(text: string, session: Pick<ChatSession, "reset">): string {
  if (text !== "/reset") return `there is no ${text}: ${HELP}`;
  session.reset();
  return "forgotten";
}

interface AnswerOptions extends TerminalChatOptions {
  readonly message: string;
  readonly signal: AbortSignal;
}

async function answer(options: AnswerOptions): Promise<void> {
  const { session, output, message, signal, interactive, showReasoning } = options;
  let last: ChatDelta["kind"] | undefined;
  try {
    for await (const delta of session.ask(message, signal)) {
      if (delta.kind === "reasoning" && !showReasoning) continue;
      output.write(delta.kind === last ? delta.text : switchTo(delta, last, options.colours));
      last = delta.kind;
    }
    output.write(`${ending(last, options.colours)}${signal.aborted ? "(stopped)\n" : ""}`);
  } catch (error) {
    if (last !== undefined) output.write(ending(last, options.colours));
    if (!interactive) throw error;
    output.write(`${AppError.from(error).message}\n`);
  }
}

/** Thoughts are dimmed, or stand on lines of their own where there are no colours. */
function switchTo(delta: ChatDelta, last: ChatDelta["kind"] | undefined, colours: boolean): string {
  const gap = last === undefined ? "" : "\n\n";
  if (!colours) return `${gap}${delta.text}`;
  return delta.kind === "reasoning" ? `${gap}${DIM}${delta.text}` : `${PLAIN}${gap}${delta.text}`;
}

function ending(last: ChatDelta["kind"] | undefined, colours: boolean): string {
  return `${last === "reasoning" && colours ? PLAIN : ""}\n`;
}
