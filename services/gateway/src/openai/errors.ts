import { AppError, type ErrorCode } from "@moiety/core";

/** The body of every answer that is not a success. */
export interface OpenAiErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

interface Row {
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
}

/** How each code looks to a client of the OpenAI API. */
const TABLE: Readonly<Record<ErrorCode, Row>> = {
  CANCELLED: { status: 499, type: "invalid_request_error", code: "cancelled" },
  UNKNOWN: { status: 500, type: "server_error", code: "internal_error" },
  INVALID_ARGUMENT: { status: 400, type: "invalid_request_error", code: null },
  DEADLINE_EXCEEDED: { status: 504, type: "server_error", code: "timeout" },
  NOT_FOUND: { status: 404, type: "invalid_request_error", code: "not_found" },
  ALREADY_EXISTS: { status: 409, type: "invalid_request_error", code: "already_exists" },
  PERMISSION_DENIED: { status: 403, type: "permission_error", code: "permission_denied" },
  RESOURCE_EXHAUSTED: { status: 429, type: "rate_limit_error", code: "rate_limit_exceeded" },
  FAILED_PRECONDITION: { status: 400, type: "invalid_request_error", code: "failed_precondition" },
  ABORTED: { status: 503, type: "server_error", code: "aborted" },
  OUT_OF_RANGE: { status: 400, type: "invalid_request_error", code: "out_of_range" },
  UNIMPLEMENTED: { status: 400, type: "invalid_request_error", code: "unsupported" },
  INTERNAL: { status: 500, type: "server_error", code: "internal_error" },
  UNAVAILABLE: { status: 503, type: "server_error", code: "unavailable" },
  DATA_LOSS: { status: 500, type: "server_error", code: "internal_error" },
  UNAUTHENTICATED: { status: 401, type: "authentication_error", code: "invalid_api_key" },
};

/** Faults of ours whose message is for the log, not for a client. */
const HIDDEN: ReadonlySet<ErrorCode> = new Set(["INTERNAL", "UNKNOWN", "DATA_LOSS"]);

export interface OpenAiError {
  readonly status: number;
  readonly body: OpenAiErrorBody;
  /** Seconds, for `Retry-After`. */
  readonly retryAfterS?: number;
}

/** `details` may name the field at fault (`param`), a finer code (`openaiCode`) and type (`openaiType`), a status (`httpStatus`) and `retryAfterMs`. */
export function toOpenAiError(error: AppError): OpenAiError {
  const row = TABLE[error.code];
  const { param, openaiCode, openaiType, httpStatus, retryAfterMs } = error.details;
  const status = typeof httpStatus === "number" ? httpStatus : row.status;
  const delayMs = typeof retryAfterMs === "number" ? retryAfterMs : status === 503 ? 1_000 : undefined;
  return {
    status,
    body: {
      error: {
        message: HIDDEN.has(error.code) ? "the server had an internal error" : error.message,
        type: typeof openaiType === "string" ? openaiType : row.type,
        param: typeof param === "string" ? param : null,
        code: typeof openaiCode === "string" ? openaiCode : row.code,
      },
    },
    ...(delayMs === undefined ? {} : { retryAfterS: Math.max(1, Math.ceil(delayMs / 1_000)) }),
  };
}

/** A field of a request that is wrong. */
export function invalidField(param: string, expected: string, openaiCode?: string): AppError {
  return new AppError("INVALID_ARGUMENT", `${param}: ${expected}`, {
    details: { param, ...(openaiCode === undefined ? {} : { openaiCode }) },
  });
}

/** Faults that Fastify finds before a route does. */
const FASTIFY_ERRORS: Readonly<Record<string, readonly [status: number, code: string, message: string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: [413, "body_too_large", "the body is longer than this server accepts"],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [415, "unsupported_media_type", "expected a body of content-type application/json"],
  FST_ERR_CTP_EMPTY_JSON_BODY: [400, "invalid_json", "expected a JSON object as the body, found nothing"],
  FST_ERR_CTP_INVALID_JSON_BODY: [400, "invalid_json", "the body is not valid JSON"],
  FST_INVALID_MULTIPART_CONTENT_TYPE: [415, "unsupported_media_type", "expected a body of content-type multipart/form-data"],
  FST_FILES_LIMIT: [413, "too_many_files", "expected one file"],
  FST_PARTS_LIMIT: [413, "form_too_large", "the form has more parts than this server accepts"],
  FST_FIELDS_LIMIT: [413, "form_too_large", "the form has more fields than this server accepts"],
  FST_ERR_MAX_PARAM_LENGTH: [414, "uri_too_long", "a part of the path is longer than this server accepts"],
  FST_ERR_BAD_URL: [400, "invalid_url", "the path is not valid: expected percent-encoded UTF-8"],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [400, "invalid_content_length", "the body's length is not its content-length"],
};

/** Whatever a route, a hook or Fastify itself threw. */
export function fromThrown(thrown: unknown): AppError {
  if (thrown instanceof AppError || !(thrown instanceof Error)) return AppError.from(thrown);
  const { code, statusCode } = thrown as Error & { code?: string; statusCode?: number };
  const known = code === undefined ? undefined : FASTIFY_ERRORS[code];
  if (known) {
    return new AppError("INVALID_ARGUMENT", known[2], { details: { httpStatus: known[0], openaiCode: known[1] }, cause: thrown });
  }
  if (thrown instanceof SyntaxError || (statusCode !== undefined && statusCode >= 400 && statusCode < 500)) {
    return new AppError("INVALID_ARGUMENT", "the request is malformed", {
      details: { httpStatus: statusCode ?? 400, openaiCode: "invalid_request" },
      cause: thrown,
    });
  }
  return AppError.from(thrown);
}
