import type { Tokenizer } from "@moiety/model";
import type { LoggedLogprob, LoggedToken } from "@moiety/queue";
import type { ContentToken } from "../generation/choice-assembler.js";

/** JSON has no infinity; this is what OpenAI's API says instead. */
const LEAST = -9999;
const finite = (logprob: number | undefined): number => (logprob === undefined || !(logprob > LEAST) ? LEAST : logprob);

/** How tokens are shown. Without a tokenizer they are named by their ids. */
export class TokenNames {
  readonly #tokenizer: Tokenizer | undefined;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(tokenizer: Tokenizer | undefined) {
    this.#tokenizer = tokenizer;
  }

  text(token: number): string {
    return this.#tokenizer ? this.#decoder.decode(this.#tokenizer.tokenBytes(token)) : `token_id:${token}`;
  }

  bytes(token: number): number[] | null {
    return this.#tokenizer ? [...this.#tokenizer.tokenBytes(token)] : null;
  }
}

interface ChatLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: number[] | null;
}

export interface ChatLogprobs {
  readonly content: readonly (ChatLogprob & { readonly top_logprobs: readonly ChatLogprob[] })[];
  readonly refusal: null;
}

/** The shape of `/v1/chat/completions`. */
export function chatLogprobs(tokens: readonly ContentToken[], names: TokenNames, top: number): ChatLogprobs {
  const shown = ({ token, logprob }: { token: number; logprob?: number }): ChatLogprob => ({
    token: names.text(token),
    logprob: finite(logprob),
    bytes: names.bytes(token),
  });
  const content = tokens.map(({ token }) => ({ ...shown(token), top_logprobs: (token.top ?? []).slice(0, top).map(shown) }));
  return { content, refusal: null };
}

export interface CompletionLogprobs {
  readonly tokens: string[];
  readonly token_logprobs: (number | null)[];
  readonly top_logprobs: (Record<string, number> | null)[];
  readonly text_offset: number[];
}

/** The shape of `/v1/completions`; offsets are in UTF-16 units of the choice's text, `base` being that of its first character. */
export function completionLogprobs(
  tokens: readonly { readonly token: LoggedToken; readonly offset: number }[],
  names: TokenNames,
  options: { readonly top: number; readonly base: number },
): CompletionLogprobs {
  const topOf = (token: LoggedToken): Record<string, number> => {
    const shown: Record<string, number> = Object.create(null);
    const add = (entry: LoggedLogprob | LoggedToken) => {
      shown[names.text(entry.token)] ??= finite(entry.logprob);
    };
    for (const entry of (token.top ?? []).slice(0, options.top)) add(entry);
    add(token);
    return shown;
  };
  return {
    tokens: tokens.map(({ token }) => names.text(token.token)),
    token_logprobs: tokens.map(({ token }) => (token.logprob === undefined ? null : finite(token.logprob))),
    top_logprobs: tokens.map(({ token }) => (token.logprob === undefined ? null : topOf(token))),
    text_offset: tokens.map(({ offset }) => options.base + offset),
  };
}
