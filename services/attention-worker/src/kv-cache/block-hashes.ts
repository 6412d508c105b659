import { createHash } from "node:crypto";
import { invariant } from "@moiety/core";
import type { Int32List } from "./int32-list.js";

/**
 * The chain of hashes of a sequence's full blocks: hash i covers the salt and the tokens of blocks 0..i, so equal hashes
 * mean equal keys and values. Cryptographic, because a collision that a client can construct would show it another's cache.
 */
export class BlockHashes {
  readonly #tokens: Int32List;
  readonly #pageTokens: number;
  readonly #hashes: string[] = [];
  readonly #root: string;

  constructor(salt: string, tokens: Int32List, pageTokens: number) {
    this.#tokens = tokens;
    this.#pageTokens = pageTokens;
    this.#root = createHash("sha256").update(salt).digest("base64");
  }

  /** Hash of block `index`, of which every token must be there. */
  at(index: number): string {
    invariant((index + 1) * this.#pageTokens <= this.#tokens.length, "only full blocks have a hash");
    for (let block = this.#hashes.length; block <= index; block++) {
      const tokens = this.#tokens.view(block * this.#pageTokens, (block + 1) * this.#pageTokens);
      const bytes = new Uint8Array(tokens.buffer, tokens.byteOffset, tokens.byteLength);
      const parent = this.#hashes[block - 1] ?? this.#root;
      this.#hashes.push(createHash("sha256").update(parent).update(bytes).digest("base64"));
    }
    const hash = this.#hashes[index];
    invariant(hash !== undefined, "the chain covers the block");
    return hash;
  }
}
