/** The markup of the harmony format. Each is one token of the vocabulary, never text. */
export const SPECIAL_TOKENS = [
  "<|start|>",
  "<|end|>",
  "<|message|>",
  "<|channel|>",
  "<|constrain|>",
  "<|return|>",
  "<|call|>",
] as const;

export type SpecialToken = (typeof SPECIAL_TOKENS)[number];

/** Token ids in the `o200k_harmony` vocabulary of gpt-oss. A checkpoint's own tokenizer has the last word. */
export const GPT_OSS_SPECIAL_TOKEN_IDS: Readonly<Record<SpecialToken, number>> = {
  "<|return|>": 200002,
  "<|constrain|>": 200003,
  "<|channel|>": 200005,
  "<|start|>": 200006,
  "<|end|>": 200007,
  "<|message|>": 200008,
  "<|call|>": 200012,
};

/** Tokens at which sampling stops: the answer is done, or a tool has to run first. */
export const STOP_TOKENS = ["<|return|>", "<|call|>"] as const satisfies readonly SpecialToken[];
