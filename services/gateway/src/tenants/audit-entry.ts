/** One line of the audit log. Text only where the tenant's record asks for it. */
export interface AuditEntry {
  readonly tenant: string;
  readonly keyId: string;
  /** What was asked: method and route. */
  readonly kind: string;
  /** Of the HTTP request, or of a batch's line. */
  readonly requestId: string;
  readonly status: number;
  /** Of an error. */
  readonly code?: string;
  /** Of what was generated: why each choice ended, separated by commas. */
  readonly finishReason?: string;
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
  readonly completionTokens?: number;
  /** Above 1: so many equal ones within a second. */
  readonly count?: number;
  /** Whom a token was given to; of administration, what it was done to. */
  readonly subject?: string;
  readonly input?: string;
  readonly output?: string;
}

const FIELDS = [
  ["tenant", "tenant"],
  ["key_id", "keyId"],
  ["kind", "kind"],
  ["request_id", "requestId"],
  ["status", "status"],
  ["code", "code"],
  ["finish_reason", "finishReason"],
  ["prompt_tokens", "promptTokens"],
  ["cached_tokens", "cachedTokens"],
  ["completion_tokens", "completionTokens"],
  ["count", "count"],
  ["subject", "subject"],
  ["input", "input"],
  ["output", "output"],
] as const;

const NUMBERS: ReadonlySet<string> = new Set(["status", "prompt_tokens", "cached_tokens", "completion_tokens", "count"]);

/** Field, value, ... as a stream of Redis takes them. */
export function auditFields(entry: AuditEntry): string[] {
  return FIELDS.flatMap(([name, field]) => (entry[field] === undefined ? [] : [name, String(entry[field])]));
}

/** An entry of the stream as it is exported. `id` begins with the time in milliseconds. */
export function auditLine(id: string, fields: readonly string[]): Readonly<Record<string, string | number>> {
  const line: Record<string, string | number> = { id, at: new Date(Number(id.split("-")[0])).toISOString() };
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const [name = "", value = ""] = fields.slice(at, at + 2);
    line[name] = NUMBERS.has(name) ? Number(value) : value;
  }
  return line;
}
