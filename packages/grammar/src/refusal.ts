import { AppError } from "@moiety/core";

const MAX_MESSAGE_LENGTH = 400;

/** The engine's own names for ends that are not good. */
const REASONS: readonly (readonly [pattern: RegExp, message: string])[] = [
  [/^NoExtensionBias/, "there is no text that fits it"],
  [
    /^(?:LexerTooComplex|lexer error: .*(?:fuel|too (?:complex|many)))/i,
    "it is too complex: its strings and patterns need too many states",
  ],
  [/^(?:ParserTooComplex|.*too many items)/i, "it is too complex: too many of its alternatives are open at once"],
];

/** The engine's refusal as an error for a client: one line, without state and backtrace. */
export function refusalOf(thrown: unknown): AppError {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  const [plain = ""] = text.split(/<(?:backtrace|state|non-verbose\/)>/, 1);
  const line = plain.replace(/\s+/g, " ").trim();
  const known = REASONS.find(([pattern]) => pattern.test(line));
  const message = known?.[1] ?? (line === "" ? "it cannot be followed" : line);
  const short = message.length > MAX_MESSAGE_LENGTH ? `${message.slice(0, MAX_MESSAGE_LENGTH)}...` : message;
  // No cause: the engine may tell in it what it was reading.
  return new AppError("INVALID_ARGUMENT", short);
}
