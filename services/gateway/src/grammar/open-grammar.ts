import { AppError } from "@moiety/core";
import { CHECKING_LIMITS, type GrammarEngine, isGrammarAddonBuilt, openGrammarEngine } from "@moiety/grammar";
import type { Logger } from "@moiety/runtime";
import type { ServedModel } from "../model/served-model.js";

export interface OpenedGrammar {
  readonly engine: GrammarEngine | undefined;
  /** Why there is no engine, to a client. */
  readonly absence: string;
}

const UNBUILT = "this installation was built without constrained decoding";

/** What requests' grammars are checked with. Blocks the event loop for up to a second: open it while starting. */
export function openGrammar({ tokenizer, config }: ServedModel, logger: Logger): OpenedGrammar {
  if (!tokenizer) return { engine: undefined, absence: "this model has no tokenizer, which constrained decoding needs" };
  if (!isGrammarAddonBuilt()) {
    logger.info("built without constrained decoding: requests that need it are refused");
    return { engine: undefined, absence: UNBUILT };
  }
  try {
    const engine = openGrammarEngine({ tokens: tokenizer, vocabSize: config.vocabSize, limits: CHECKING_LIMITS });
    return { engine, absence: "" };
  } catch (thrown) {
    logger.warn({ err: AppError.from(thrown) }, "constrained decoding is not available");
    return { engine: undefined, absence: UNBUILT };
  }
}
