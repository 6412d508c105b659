import { z } from "zod";
import { configFault, parseFile, preview } from "../config/config-fault.js";
import { CONFIG_LIMITS } from "../config/config-limits.js";
import { fromByteLevel } from "./byte-level.js";
import { TokenTable } from "./token-table.js";

const tokenId = z
  .int("expected a token id")
  .min(0, "expected a token id")
  .max(CONFIG_LIMITS.vocabSize - 1, "expected a token id");

const noStripping = z.literal(false, "expected false: gpt-oss tokens match their exact text").optional();

const tokenizerSchema = z.looseObject({
  added_tokens: z
    .array(
      z.looseObject({
        id: tokenId,
        content: z.string("expected a text").min(1, "expected a text").max(1024, "expected at most 1024 characters"),
        special: z.boolean("expected true or false").optional(),
        single_word: noStripping,
        lstrip: noStripping,
        rstrip: noStripping,
      }),
    )
    .default([]),
  decoder: z.looseObject({ type: z.literal("ByteLevel", 'expected "ByteLevel"') }, "expected a byte-level decoder"),
  model: z.looseObject({
    type: z.literal("BPE", 'expected "BPE"'),
    vocab: z.custom<Readonly<Record<string, unknown>>>(
      (vocab) => typeof vocab === "object" && vocab !== null && !Array.isArray(vocab),
      "expected an object of tokens and ids",
    ),
  }),
});

/** A token that is matched by its text before anything else is tokenised. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

export interface ParsedTokenizer {
  readonly added: readonly AddedToken[];
  readonly table: TokenTable;
  /** tokenizer.json without added tokens, truncation and padding: what is left to the library. */
  readonly plainJson: string;
}

/** Checks a parsed tokenizer.json. INVALID_ARGUMENT naming file and field if it is not byte-level BPE or contradicts itself. */
export function parseTokenizerJson(json: unknown, file: string): ParsedTokenizer {
  const raw = parseFile(tokenizerSchema, json, file);
  const bytesById: (Uint8Array | undefined)[] = [];
  for (const [token, id] of Object.entries(raw.model.vocab)) {
    const field = `model.vocab.${token.slice(0, 100)}`;
    if (!isTokenId(id)) throw configFault(file, field, `expected a token id, found ${preview(id)}`);
    if (bytesById[id] !== undefined) throw configFault(file, field, `id ${id} is another token's too`);
    const bytes = fromByteLevel(token);
    if (bytes === undefined) throw configFault(file, field, "expected characters of the byte-level alphabet only");
    bytesById[id] = bytes;
  }
  const added = raw.added_tokens.map(({ id, content, special }) => ({ id, content, special: special ?? false }));
  const contents = new Set<string>();
  for (const { id, content } of added) {
    const bytes = new TextEncoder().encode(content);
    const taken = bytesById[id];
    if (taken !== undefined && Buffer.compare(taken, bytes) !== 0) {
      throw configFault(file, "added_tokens", `id ${id} of ${preview(content)} is another token's too`);
    }
    if (contents.has(content)) throw configFault(file, "added_tokens", `${preview(content)} is there twice`);
    contents.add(content);
    bytesById[id] = bytes;
  }
  const plainJson = JSON.stringify({ ...raw, added_tokens: [], truncation: null, padding: null });
  return { added, table: new TokenTable(Array.from(bytesById)), plainJson };
}

function isTokenId(id: unknown): id is number {
  return typeof id === "number" && Number.isInteger(id) && id >= 0 && id < CONFIG_LIMITS.vocabSize;
}
