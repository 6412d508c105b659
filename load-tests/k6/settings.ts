/** What the runner says of a run, in environment variables. */
export interface Settings {
  readonly scenario: string;
  /** Without `/v1`. */
  readonly url: string;
  /** One of each tenant, one at least. */
  readonly keys: readonly string[];
  readonly model: string;
  /** Folder of the summaries. */
  readonly out: string;
  readonly durationS: number | undefined;
  /** Requests per second. */
  readonly rate: number | undefined;
  readonly requests: number | undefined;
  /** At once. */
  readonly streams: number | undefined;
  /** Longest prompt plus answer, tokens. */
  readonly contextTokens: number;
  /** Limits of the 95th percentile. */
  readonly firstTokenMs: number;
  readonly gapMs: number;
  /** Asked before each request of a scenario that has no length of its own: anything but 200 is its end. */
  readonly until: string;
}

const text = (name: string): string => {
  const value = __ENV[name];
  if (value === undefined || value === "") throw new Error(`${name} is not set: run this by \`npm run load\``);
  return value;
};

const amount = (name: string): number | undefined => {
  const value = __ENV[name];
  return value === undefined || value === "" ? undefined : Number(value);
};

export const settings: Settings = {
  scenario: text("LOAD_SCENARIO"),
  url: text("LOAD_URL"),
  keys: text("LOAD_KEYS").split(","),
  model: text("LOAD_MODEL"),
  out: text("LOAD_OUT"),
  durationS: amount("LOAD_DURATION_S"),
  rate: amount("LOAD_RATE"),
  requests: amount("LOAD_REQUESTS"),
  streams: amount("LOAD_STREAMS"),
  contextTokens: amount("LOAD_CONTEXT_TOKENS") ?? 16_384,
  firstTokenMs: amount("LOAD_FIRST_TOKEN_MS") ?? 3_000,
  gapMs: amount("LOAD_GAP_MS") ?? 500,
  until: __ENV["LOAD_UNTIL"] ?? "",
};

/** The index-th tenant's; one key serves all when there is no other. */
export function keyOf(index: number): string {
  return settings.keys[Math.min(index, settings.keys.length - 1)] ?? "";
}
