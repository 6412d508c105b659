export { GRAMMAR_ENGINE, isGrammarAddonBuilt } from "./addon.js";
export {
  type ContentGrammar,
  completionGrammar,
  contentGrammar,
  type JsonSchema,
} from "./content-grammar.js";
export * from "./grammar-engine.js";
export * from "./limits.js";
export { type OpenGrammarEngineOptions, openGrammarEngine } from "./open-grammar-engine.js";
export { type CallShape, MAX_CALLS, MAX_NOTES, type TurnShape, turnGrammar } from "./turn-grammar.js";
export type { TokenBytes } from "./vocabulary.js";
