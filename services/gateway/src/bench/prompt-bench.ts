import { join } from "node:path";
import { systemClock } from "@moiety/core";
import { openTokenizer, type Tokenizer } from "@moiety/model";
import { chatPrompt } from "../chat/chat-prompt.js";
import type { ChatPromptFields } from "../openai/chat-request.js";

export interface PromptBenchOptions {
  /** Folder with a tokenizer.json that has harmony's markup. */
  readonly checkpoint: string;
  /** Tokens of each prompt, about. */
  readonly tokens: number;
  readonly repetitions: number;
}

/** How long one kind of chat took to become tokens, each time. */
export interface PromptTimes {
  readonly chat: string;
  readonly tokens: number;
  /** Milliseconds: the chat rendered and tokenised. */
  readonly promptMs: readonly number[];
  /** Milliseconds: the tokenizer alone, with the chat's texts as one. */
  readonly encodeMs: readonly number[];
}

/** Not every token comes of a word. */
const FITTING_ROUNDS = 4;

const WORDS =
  `the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one you
 were her all she there would their we him been has when who will more no if out so said what up its about into than them can only other
 new some could time these two may then do first any my now such like our over man me even most made after also did many before must`.split(
    /\s+/u,
  );

/** Prose of a kind: common words, rarer ones that are never twice the same, numbers, punctuation. */
function prose(count: number, seed: number): string {
  let state = seed;
  const draw = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const word = () => {
    const kind = draw(10);
    if (kind === 0) return String(draw(10_000));
    if (kind === 1) return Array.from({ length: 2 + draw(6) }, () => String.fromCharCode(97 + draw(26))).join("");
    return WORDS[draw(WORDS.length)] ?? "";
  };
  return Array.from({ length: count }, () => word() + (draw(12) === 0 ? ". " : " ")).join("");
}

interface Chat {
  readonly name: string;
  /** Of prose: of so many words in all. */
  readonly make: (words: number, seed: number) => ChatPromptFields;
}

const CHATS: readonly Chat[] = [
  { name: "one message", make: (words, seed) => ({ messages: [{ role: "user", content: prose(words, seed) }] }) },
  {
    name: "200 messages",
    make: (words, seed) => ({
      messages: Array.from({ length: 200 }, (_, index) => ({
        role: index % 2 === 0 ? ("user" as const) : ("assistant" as const),
        content: prose(Math.ceil(words / 200), seed + index),
      })),
    }),
  },
  {
    name: "100 functions",
    make: (words, seed) => ({
      messages: [{ role: "user", content: "Which?" }],
      tools: Array.from({ length: 100 }, (_, index) => ({
        type: "function" as const,
        function: {
          name: `function_${index}`,
          description: prose(Math.ceil(words / 200), seed + index),
          parameters: {
            type: "object",
            properties: { value: { type: "string", description: prose(Math.ceil(words / 200), seed - index) } },
          },
        },
      })),
    }),
  },
];

const textsOf = ({ messages, tools }: ChatPromptFields): string => JSON.stringify([messages, tools]);

/** Times how chats become tokens, as `/v1/chat/completions` does it. @throws AppError for a tokenizer that cannot be read. */
export async function benchPrompts(options: PromptBenchOptions): Promise<readonly PromptTimes[]> {
  const tokenizer = await openTokenizer(join(options.checkpoint, "tokenizer.json"));
  const times: PromptTimes[] = [];
  for (const chat of CHATS) times.push(await timeChat(chat, tokenizer, options));
  return times;
}

async function timeChat(
  { name, make }: Chat,
  tokenizer: Tokenizer,
  { tokens, repetitions }: PromptBenchOptions,
): Promise<PromptTimes> {
  const model = { tokenizer, harmony: true };
  const render = (fields: ChatPromptFields) => chatPrompt(fields, model, systemClock);
  let words = tokens;
  for (let round = 0; round < FITTING_ROUNDS; round++)
    words = Math.ceil((words * tokens) / (await render(make(words, 1))).length);
  const promptMs: number[] = [];
  const encodeMs: number[] = [];
  let length = 0;
  for (let index = 0; index < repetitions; index++) {
    const fields = make(words, 1_000 * (index + 1));
    const begunMs = performance.now();
    length = (await render(fields)).length;
    const renderedMs = performance.now();
    await tokenizer.encode(textsOf(fields), { allowSpecial: false });
    promptMs.push(renderedMs - begunMs);
    encodeMs.push(performance.now() - renderedMs);
  }
  return { chat: name, tokens: length, promptMs, encodeMs };
}
