import { basename } from "node:path";
import { AppError } from "@moiety/core";
import { Tokenizer as BpeTokenizer, type Encoding } from "tokenizers";
import { readJsonFile } from "../json/read-json-file.js";
import { toByteLevel } from "./byte-level.js";
import { type IncrementalDecoder, Utf8Decoder } from "./incremental-decoder.js";
import { type TextPiece, TextSplitter } from "./text-splitter.js";
import type { TokenTable } from "./token-table.js";
import { DEFAULT_TOKENIZER_LIMITS, type EncodeOptions, type Tokenizer, type TokenizerLimits } from "./tokenizer.js";
import { type ParsedTokenizer, parseTokenizerJson } from "./tokenizer-schema.js";

const MAX_TOKENIZER_BYTES = 256 * 1024 * 1024;

/**
 * Reads a tokenizer.json of byte-level BPE. NOT_FOUND if the file is missing; INVALID_ARGUMENT naming file and field if it is
 * damaged or of another kind. Blocks the event loop for up to a second with a vocabulary of 200,000: open it while starting.
 */
export async function openTokenizer(path: string, limits: Partial<TokenizerLimits> = {}): Promise<Tokenizer> {
  const json = await readJsonFile(path, { maxBytes: MAX_TOKENIZER_BYTES, maxDepth: 32 });
  return createTokenizer(json, { file: basename(path), limits });
}

export interface CreateTokenizerOptions {
  /** Named in errors. Default `tokenizer.json`. */
  readonly file?: string;
  readonly limits?: Partial<TokenizerLimits>;
}

/** Like {@link openTokenizer}, from the parsed JSON. */
export function createTokenizer(json: unknown, options: CreateTokenizerOptions = {}): Tokenizer {
  const file = options.file ?? "tokenizer.json";
  const parsed = parseTokenizerJson(json, file);
  return new CheckpointTokenizer(parsed, loadBpe(parsed.plainJson, file), { ...DEFAULT_TOKENIZER_LIMITS, ...options.limits });
}

function loadBpe(plainJson: string, file: string): BpeTokenizer {
  try {
    return BpeTokenizer.fromString(plainJson);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AppError("INVALID_ARGUMENT", `${file}: ${reason}`, { details: { file }, cause });
  }
}

const PLAIN = { addSpecialTokens: false } as const;

class CheckpointTokenizer implements Tokenizer {
  readonly specialTokens: ReadonlyMap<string, number>;
  readonly #specialIds: ReadonlySet<number>;
  readonly #idByAdded: ReadonlyMap<string, number>;
  readonly #table: TokenTable;
  readonly #bpe: BpeTokenizer;
  readonly #limits: TokenizerLimits;
  readonly #everyToken: TextSplitter;
  readonly #ordinaryTokens: TextSplitter;

  constructor(parsed: ParsedTokenizer, bpe: BpeTokenizer, limits: TokenizerLimits) {
    const special = parsed.added.filter((token) => token.special);
    this.specialTokens = new Map(special.map(({ content, id }) => [content, id]));
    this.#specialIds = new Set(this.specialTokens.values());
    this.#idByAdded = new Map(parsed.added.map(({ content, id }) => [content, id]));
    this.#table = parsed.table;
    this.#bpe = bpe;
    this.#limits = limits;
    this.#everyToken = new TextSplitter(parsed.added);
    this.#ordinaryTokens = new TextSplitter(parsed.added.filter((token) => !token.special));
  }

  get vocabSize(): number {
    return this.#table.size;
  }

  async encode(text: string, { allowSpecial }: EncodeOptions): Promise<Int32Array> {
    this.#checkCharacters(text.length);
    return this.#encodePieces((allowSpecial ? this.#everyToken : this.#ordinaryTokens).split(text));
  }

  async encodeParts(parts: readonly (string | number)[]): Promise<Int32Array> {
    this.#checkCharacters(parts.reduce<number>((sum, part) => sum + (typeof part === "string" ? part.length : 0), 0));
    return this.#encodePieces(
      parts.flatMap((part) =>
        typeof part === "string" ? this.#ordinaryTokens.split(part) : [{ kind: "token" as const, id: part }],
      ),
    );
  }

  #checkCharacters(characters: number): void {
    const { maxCharacters } = this.#limits;
    if (characters <= maxCharacters) return;
    const message = `text has ${characters} characters, expected at most ${maxCharacters}`;
    throw new AppError("INVALID_ARGUMENT", message, { details: { characters, maxCharacters } });
  }

  async #encodePieces(pieces: readonly TextPiece[]): Promise<Int32Array> {
    const texts = pieces.flatMap((piece) => (piece.kind === "text" ? [piece.text] : []));
    const encodings = await this.#encodePlain(texts);
    const tokens = encodings.reduce((sum, encoding) => sum + encoding.getLength(), pieces.length - texts.length);
    this.#checkTokens(tokens);
    const ids = new Int32Array(tokens);
    let [at, encoded] = [0, 0];
    for (const piece of pieces) {
      const pieceIds = piece.kind === "token" ? [piece.id] : (encodings[encoded++]?.getIds() ?? []);
      ids.set(pieceIds, at);
      at += pieceIds.length;
    }
    return ids;
  }

  async #encodePlain(texts: readonly string[]): Promise<readonly Encoding[]> {
    const [first] = texts;
    if (first === undefined) return [];
    if (texts.length === 1) return [await this.#bpe.encode(first, null, PLAIN)];
    return await this.#bpe.encodeBatch([...texts], PLAIN);
  }

  #checkTokens(tokens: number): void {
    const { maxTokens } = this.#limits;
    if (tokens <= maxTokens) return;
    throw new AppError("INVALID_ARGUMENT", `text has ${tokens} tokens, expected at most ${maxTokens}`, {
      details: { tokens, maxTokens },
    });
  }

  decode(ids: Iterable<number>): string {
    const decoder = this.createDecoder();
    let text = "";
    for (const id of ids) text += decoder.push(id);
    return text + decoder.flush();
  }

  tokenBytes(id: number): Uint8Array {
    if (Number.isInteger(id) && id >= 0) return this.#table.bytesOf(id);
    throw new AppError("OUT_OF_RANGE", `expected a token id, found ${id}`);
  }

  idOf(token: string): number | undefined {
    return this.#idByAdded.get(token) ?? this.#bpe.tokenToId(toByteLevel(new TextEncoder().encode(token))) ?? undefined;
  }

  isSpecial(id: number): boolean {
    return this.#specialIds.has(id);
  }

  createDecoder(): IncrementalDecoder {
    return new Utf8Decoder((id) => this.tokenBytes(id));
  }
}
