import { AppError } from "@moiety/core";
import { DECODING_LIMITS, type GrammarEngine, isGrammarAddonBuilt, openGrammarEngine } from "@moiety/grammar";
import { type Checkpoint, openTokenizer } from "@moiety/model";
import type { Logger } from "@moiety/runtime";

/** Claims are bounded, and each compiles one grammar. */
const MAX_WAITING = 65_536;

/**
 * What outputs are held to grammars with; absent when the addon is not built, or the checkpoint has no tokenizer that can be read.
 * Blocks the event loop for up to two seconds with a vocabulary of 200,000: open it while starting.
 */
export async function openGrammar(checkpoint: Checkpoint, logger: Logger): Promise<GrammarEngine | undefined> {
  if (!isGrammarAddonBuilt()) {
    logger.info("built without constrained decoding: requests that need it are refused");
    return undefined;
  }
  if (checkpoint.tokenizerFile === undefined) return undefined;
  try {
    const tokens = await openTokenizer(checkpoint.tokenizerFile);
    const { vocabSize } = checkpoint.config;
    return openGrammarEngine({ tokens, vocabSize, limits: DECODING_LIMITS, maxWaiting: MAX_WAITING });
  } catch (thrown) {
    logger.warn({ err: AppError.from(thrown) }, "constrained decoding is not available");
    return undefined;
  }
}
