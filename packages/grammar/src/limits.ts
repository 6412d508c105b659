/** What compiling and masking may spend. Counted, never timed, so that every process refuses the same grammars. */
export interface GrammarLimits {
  /** Symbols in productions. */
  readonly maxGrammarSize: number;
  /** Regex nodes that compiling may build; 50,000 take about a millisecond. */
  readonly initialLexerFuel: number;
  /** Regex nodes that one mask may build. */
  readonly stepLexerFuel: number;
  /** Parser items that one mask may make. */
  readonly stepMaxItems: number;
  /** States of the lexer; each takes one to two kilobytes. */
  readonly maxLexerStates: number;
}

/** What a gateway checks requests with. */
export const CHECKING_LIMITS: GrammarLimits = {
  maxGrammarSize: 200_000,
  initialLexerFuel: 1_000_000,
  stepLexerFuel: 200_000,
  stepMaxItems: 50_000,
  maxLexerStates: 50_000,
};

/**
 * What an attention worker decodes with. The lexer is lazy: a generation that is taken over spends in one step what its first holder
 * had spent in many, so that steps have fifty times the fuel that the check leaves them.
 */
export const DECODING_LIMITS: GrammarLimits = { ...CHECKING_LIMITS, stepLexerFuel: 10_000_000, stepMaxItems: 2_500_000 };

/** UTF-16 units of one grammar's text, as it is stored with a request. */
export const MAX_GRAMMAR_LENGTH = 1_048_576;
/** UTF-16 units of one regular expression or one grammar of a client. */
export const MAX_PATTERN_LENGTH = 65_536;
