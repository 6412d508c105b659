import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { AppError } from "@moiety/core";
import type { GrammarLimits } from "./limits.js";

/** The state of one generation, as the addon has it: the caller keeps its calls apart. */
export interface NativeMatcher {
  /** Consumes tokens, then gives the mask of the next; empty: complete. Rejects with the engine's own message. */
  advance(tokens: Uint32Array): Promise<Uint32Array>;
  fork(): NativeMatcher;
}

export interface NativeVocabulary {
  compile(grammars: string): Promise<NativeMatcher>;
}

/** The engine that native/Cargo.toml pins: another version may admit other tokens. */
export const GRAMMAR_ENGINE = "llguidance/1.9.1";

/** What build/moiety_grammar.node exports. */
interface Addon {
  /** The engine that it was built with. */
  readonly engine: () => string;
  readonly Vocabulary: new (bytes: Buffer, ends: Uint32Array, eos: number, limits: GrammarLimits) => NativeVocabulary;
}

/** From src/ and from dist/ alike. */
const ADDON_FILE = fileURLToPath(new URL("../build/moiety_grammar.node", import.meta.url));

let loaded: Addon | undefined;

/** Whether this installation can constrain decoding: the addon is optional, since it takes a Rust toolchain to build. */
export function isGrammarAddonBuilt(): boolean {
  return existsSync(ADDON_FILE);
}

/** Loads the addon once. FAILED_PRECONDITION when it is not built, or built for another system, or with another engine. */
export function loadAddon(): Addon {
  if (loaded !== undefined) return loaded;
  const hint = "install Rust's cargo, then run: node tools/setup.mjs";
  if (!isGrammarAddonBuilt()) throw new AppError("FAILED_PRECONDITION", `${ADDON_FILE} does not exist; ${hint}`);
  const addon = load(hint);
  if (addon.engine() !== GRAMMAR_ENGINE) {
    throw new AppError("FAILED_PRECONDITION", `${ADDON_FILE} holds ${addon.engine()}, expected ${GRAMMAR_ENGINE}; ${hint}`);
  }
  loaded = addon;
  return loaded;
}

function load(hint: string): Addon {
  try {
    return createRequire(import.meta.url)(ADDON_FILE) as Addon;
  } catch (cause) {
    throw new AppError("FAILED_PRECONDITION", `${ADDON_FILE} cannot be loaded; ${hint}`, { cause });
  }
}
