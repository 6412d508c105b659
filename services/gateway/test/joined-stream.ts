// biome-ignore lint/suspicious/noExplicitAny: chunks and answers have many shapes
type Json = any;

/** The lists of a completion's log-probabilities. */
const LISTS = ["tokens", "token_logprobs", "top_logprobs", "text_offset"] as const;

/** The answer in one piece that the chunks of a stream come to, as a client would put it together. */
export function joinedChat(chunks: readonly Json[]): Json {
  return { choices: indices(chunks).map((index) => chatChoice(choicesOf(chunks, index), index)), usage: usageOf(chunks) };
}

export function joinedCompletion(chunks: readonly Json[]): Json {
  return { choices: indices(chunks).map((index) => completionChoice(choicesOf(chunks, index), index)), usage: usageOf(chunks) };
}

/** Without what tells one request from the next. */
export function withoutIds({ choices, usage }: Json): Json {
  const text = JSON.stringify({ choices, usage });
  return JSON.parse(text.replaceAll(/"call_[0-9a-f]{24}"/g, '"CALL"'));
}

const choicesOf = (chunks: readonly Json[], index: number): Json[] =>
  chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
const indices = (chunks: readonly Json[]): number[] =>
  [...new Set(chunks.flatMap(({ choices }) => choices.map(({ index }: Json) => index)))].sort((a, b) => a - b);
const usageOf = (chunks: readonly Json[]): Json => chunks.at(-1).usage;
const text = (parts: readonly Json[], field: string): string => parts.map((part) => part[field] ?? "").join("");

function ending(choices: readonly Json[]): Json {
  const before = choices.slice(0, -1).filter(({ finish_reason }) => finish_reason !== null);
  if (before.length > 0) throw new Error("a choice goes on after its end");
  const { finish_reason, stop_reason } = choices.at(-1);
  return { finish_reason, stop_reason };
}

function chatChoice(choices: readonly Json[], index: number): Json {
  const deltas = choices.map(({ delta }) => delta);
  const calls = joinedCalls(deltas.flatMap(({ tool_calls }) => tool_calls ?? []));
  const content = text(deltas, "content");
  const reasoning = text(deltas, "reasoning");
  if (text(deltas, "reasoning_content") !== reasoning) throw new Error("thoughts have one text under both names");
  const tokens = choices.flatMap(({ logprobs }) => logprobs?.content ?? []);
  const ids = choices.filter((choice) => "token_ids" in choice);
  return {
    index,
    message: {
      role: deltas[0].role,
      content: content === "" && calls.length > 0 ? null : content,
      refusal: null,
      ...(reasoning === "" ? {} : { reasoning, reasoning_content: reasoning }),
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    },
    logprobs: tokens.length > 0 ? { content: tokens, refusal: null } : null,
    ...ending(choices),
    ...(ids.length > 0 ? { token_ids: ids.flatMap(({ token_ids }) => token_ids) } : {}),
  };
}

function joinedCalls(deltas: readonly Json[]): Json[] {
  const calls: Json[] = [];
  for (const { index, ...delta } of deltas) {
    const known = calls[index];
    if (known === undefined) calls[index] = { ...delta, function: { ...delta.function } };
    else if (delta.id !== undefined || delta.function.name !== undefined) throw new Error("a call has one id and one name");
    else known.function.arguments += delta.function.arguments;
  }
  return calls;
}

function completionChoice(choices: readonly Json[], index: number): Json {
  const logged = choices.flatMap(({ logprobs }) => logprobs ?? []);
  const ids = choices.filter((choice) => "token_ids" in choice);
  const prompts = choices.filter((choice) => "prompt_token_ids" in choice);
  if (prompts.length > 1) throw new Error("the prompt's tokens come once");
  return {
    index,
    text: text(choices, "text"),
    logprobs:
      logged.length > 0 ? Object.fromEntries(LISTS.map((list) => [list, logged.flatMap((part) => part[list] ?? [])])) : null,
    ...ending(choices),
    ...(ids.length > 0 ? { token_ids: ids.flatMap(({ token_ids }) => token_ids) } : {}),
    ...(prompts.length > 0 ? { prompt_token_ids: prompts[0].prompt_token_ids } : {}),
  };
}
