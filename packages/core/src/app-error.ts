/** The canonical gRPC status names, and their numbers on the wire. */
export const ERROR_CODES = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface AppErrorOptions {
  /** Whether the same call may succeed if it is repeated. Defaults to what the code implies. */
  readonly retryable?: boolean;
  /** Safe, structured facts: names, numbers, limits. Never a prompt, a completion or a key. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

const RETRYABLE: ReadonlySet<ErrorCode> = new Set(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED"]);

/** The one error type that crosses a module's boundary. */
export class AppError extends Error {
  override readonly name = "AppError";
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? RETRYABLE.has(code);
    this.details = options.details ?? {};
  }

  /** Wraps whatever was thrown; an AppError is returned as it is. */
  static from(thrown: unknown, code: ErrorCode = "INTERNAL"): AppError {
    if (thrown instanceof AppError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new AppError(code, message, { cause: thrown });
  }
}

const CODE_BY_NUMBER: ReadonlyMap<number, ErrorCode> = new Map(
  Object.entries(ERROR_CODES).map(([name, number]) => [number, name as ErrorCode]),
);

/** The name of a gRPC status number; UNKNOWN for a number that gRPC does not define. */
export function errorCodeOf(status: number): ErrorCode {
  return CODE_BY_NUMBER.get(status) ?? "UNKNOWN";
}
