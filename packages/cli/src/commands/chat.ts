import { Command, Option } from "commander";
import { ChatSession } from "../chat/chat-session.js";
import { chatInTerminal } from "../chat/terminal-chat.js";
import { httpUrl, integerBetween, numberBetween } from "../option-values.js";

export interface ChatFlags {
  readonly url: string;
  readonly apiKey?: string;
  readonly model?: string;
  readonly system?: string;
  readonly reasoningEffort?: "low" | "medium" | "high";
  readonly reasoning: boolean;
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly seed?: number;
}

const EXAMPLES = `
Examples:
  $ moiety chat
  $ moiety chat --url https://moiety.example.com --reasoning-effort high
  $ echo "What is 2 + 2?" | moiety chat --no-reasoning

While it runs: /reset forgets the conversation, /quit leaves, Ctrl-C stops an answer.`;

/** `moiety chat`. */
export function chatCommand(run: (flags: ChatFlags) => Promise<void> = chat): Command {
  return new Command("chat")
    .summary("talk to a model in the terminal")
    .description(
      "Talks to a model behind any OpenAI-compatible API. Thoughts are dimmed. Reads one message per line, from a pipe too.",
    )
    .addOption(
      new Option("--url <url>", "base of the API, without /v1")
        .env("MOIETY_URL")
        .default("http://127.0.0.1:8080")
        .argParser(httpUrl),
    )
    .addOption(new Option("--api-key <key>", "key to present; better given in the environment").env("MOIETY_API_KEY"))
    .option("--model <name>", "model to talk to; default: the first that the API lists")
    .option("--system <text>", "instructions for the model")
    .addOption(new Option("--reasoning-effort <effort>", "how long to think").choices(["low", "medium", "high"]))
    .option("--no-reasoning", "do not show thoughts")
    .option("--max-tokens <count>", "longest answer, thoughts included", integerBetween(1, 10_000_000))
    .option("--temperature <number>", "0 for the likeliest answer", numberBetween(0, 2))
    .option("--seed <number>", "the same seed gives the same answer", integerBetween(0, Number.MAX_SAFE_INTEGER))
    .addHelpText("after", EXAMPLES)
    .action(run);
}

async function chat(flags: ChatFlags): Promise<void> {
  const interactive = process.stdin.isTTY === true && process.stdout.isTTY === true;
  await chatInTerminal({
    session: new ChatSession(flags),
    input: process.stdin,
    output: process.stdout,
    interactive,
    colours: process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined,
    showReasoning: flags.reasoning,
  });
}
