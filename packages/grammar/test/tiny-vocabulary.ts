import { createTokenizer, makeBytesTokenizer } from "@moiety/model";
import {
  CHECKING_LIMITS,
  type GrammarEngine,
  type GrammarLimits,
  type GrammarState,
  type MaskStep,
  openGrammarEngine,
} from "../src/index.js";

export const VOCABULARY = 2_048;
export const tokenizer = createTokenizer(makeBytesTokenizer(VOCABULARY));

export function openTinyEngine(limits: GrammarLimits = CHECKING_LIMITS, maxWaiting = 64): GrammarEngine {
  return openGrammarEngine({ tokens: tokenizer, vocabSize: VOCABULARY, limits, maxWaiting });
}

/** Token ids of text in which markup is markup. */
export async function ids(text: string): Promise<number[]> {
  return [...(await tokenizer.encode(text, { allowSpecial: true }))];
}

export function isAllowed(step: MaskStep, token: number): boolean {
  return step.kind === "mask" && (((step.allowed[token >> 5] ?? 0) >>> (token & 31)) & 1) === 1;
}

export function allowedTokens({ allowed }: { readonly allowed: Uint32Array }): number[] {
  const tokens: number[] = [];
  allowed.forEach((word, index) => {
    for (let rest = word; rest !== 0; rest &= rest - 1) tokens.push(index * 32 + 31 - Math.clz32(rest & -rest));
  });
  return tokens;
}

export const begin = (state: GrammarState): Promise<MaskStep> => state.advance(new Int32Array(0));

/** How a text fares: `complete`, `open`, or the place of the first token that is not allowed. */
export async function fate(engine: GrammarEngine, grammar: string, text: string): Promise<string> {
  const state = await engine.compile(grammar);
  let step = await begin(state);
  let read = "";
  for (const token of await ids(text)) {
    if (!isAllowed(step, token)) return `refused after ${read}`;
    step = await state.advance(Int32Array.of(token));
    read += tokenizer.decode([token]);
  }
  return step.kind === "complete" ? "complete" : "open";
}

/** Numbers from 0 to 1, the same for the same seed. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const CLOSING = new Set(
  Array.from({ length: VOCABULARY }, (_, id) => id).filter((id) => {
    return tokenizer.isSpecial(id) || /^["\]}]+$/.test(tokenizer.decode([id]));
  }),
);

export interface Walk {
  readonly tokens: readonly number[];
  readonly masks: readonly MaskStep[];
  readonly complete: boolean;
}

/** Draws allowed tokens at random, those that close something more and more often. */
export async function walk(state: GrammarState, options: { readonly seed: number; readonly maxTokens: number }): Promise<Walk> {
  const random = randomNumbers(options.seed);
  const tokens: number[] = [];
  const masks: MaskStep[] = [];
  let step = await begin(state);
  while (step.kind === "mask" && tokens.length < options.maxTokens) {
    masks.push(step);
    const all = allowedTokens(step);
    const closing = all.filter((token) => CLOSING.has(token));
    const from = closing.length > 0 && random() < 0.2 + tokens.length / 300 ? closing : all;
    const token = from[Math.floor(random() * from.length)];
    if (token === undefined) throw new Error("a mask allows something");
    tokens.push(token);
    step = await state.advance(Int32Array.of(token));
  }
  return { tokens, masks: [...masks, step], complete: step.kind === "complete" };
}
