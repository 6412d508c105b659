import { z } from "zod";
import type { BatchFault } from "./batch-state.js";
import type { FileLine } from "./read-lines.js";

/** A request of a batch. */
export interface InputLine {
  /** In the input, from 1. */
  readonly line: number;
  readonly customId: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface InputExpectations {
  readonly endpoint: string;
  readonly model: string;
}

const MAX_CUSTOM_ID = 512;

/** What is around a request. What is in its body is for the endpoint to judge, line by line. */
const lineSchema = z.object({
  custom_id: z
    .string("expected a text")
    .min(1, "expected 1 to 512 characters")
    .max(MAX_CUSTOM_ID, "expected 1 to 512 characters"),
  method: z.literal("POST", 'expected "POST"'),
  url: z.string("expected a text"),
  body: z.record(z.string(), z.unknown(), "expected a JSON object"),
});

const FAULTS = {
  "too-long": ["line_too_long", "the line is longer than this server accepts"],
  "not-utf8": ["invalid_json_line", "the line is not UTF-8"],
} as const;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Reads a line, or says what is wrong with it. */
export function parseInputLine(line: FileLine, expected: InputExpectations): InputLine | BatchFault {
  const fault = (code: string, message: string, param?: string): BatchFault => ({
    code,
    message,
    line: line.number,
    ...(param === undefined ? {} : { param }),
  });
  if ("fault" in line) {
    const [code, message] = FAULTS[line.fault];
    return fault(code, message);
  }
  const value = parseJson(line.text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return fault("invalid_json_line", "the line is not a JSON object");
  }
  const parsed = lineSchema.safeParse(value);
  if (!parsed.success) {
    const param = String(parsed.error.issues[0]?.path[0] ?? "custom_id");
    const missing = !(param in value);
    return fault(
      missing ? "missing_required_parameter" : `invalid_${param}`,
      missing ? `${param} is missing` : `${param}: ${parsed.error.issues[0]?.message}`,
      param,
    );
  }
  const { custom_id: customId, url, body } = parsed.data;
  if (url !== expected.endpoint)
    return fault("mismatched_url", `url: expected the batch's endpoint, ${expected.endpoint}`, "url");
  const model = body["model"] ?? undefined;
  if (model !== undefined && model !== expected.model) {
    return fault("model_not_found", `body.model: this server serves ${expected.model}`, "body.model");
  }
  return { line: line.number, customId, body };
}

/** Whether a line was refused. */
export const isFault = (line: InputLine | BatchFault): line is BatchFault => "code" in line;

const MAX_FAULTS = 100;
/** Every line of the file has a bit in Redis. */
const MAX_BLANK_LINES = 100_000;

/** Checks all lines of an input, one after the other. */
export class InputCheck {
  readonly #expected: InputExpectations;
  readonly #maxLines: number;
  readonly #faults: BatchFault[] = [];
  readonly #customIds = new Set<string>();
  #total = 0;

  constructor(expected: InputExpectations, maxLines: number) {
    this.#expected = expected;
    this.#maxLines = maxLines;
  }

  /** False: no more needs to be read. */
  take(line: FileLine): boolean {
    this.#total += 1;
    if (this.#total > this.#maxLines || line.number > this.#maxLines + MAX_BLANK_LINES) {
      const message = `a batch has at most ${this.#maxLines} requests, and ${MAX_BLANK_LINES} blank lines`;
      this.#faults.push({ code: "too_many_lines", message, line: line.number });
      return false;
    }
    const parsed = parseInputLine(line, this.#expected);
    if (isFault(parsed)) this.#faults.push(parsed);
    else if (this.#customIds.has(parsed.customId)) {
      const message = "an earlier line has the same custom_id";
      this.#faults.push({ code: "duplicate_custom_id", message, line: line.number, param: "custom_id" });
    } else this.#customIds.add(parsed.customId);
    return this.#faults.length < MAX_FAULTS;
  }

  /** How many requests there are, or what is wrong. */
  end(): { readonly total: number } | { readonly faults: readonly BatchFault[] } {
    if (this.#total === 0) return { faults: [{ code: "empty_file", message: "the input has no requests" }] };
    return this.#faults.length > 0 ? { faults: this.#faults } : { total: this.#total };
  }
}
