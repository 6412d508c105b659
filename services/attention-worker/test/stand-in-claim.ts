import { deferred, parseRequestId, parseTenantId } from "@moiety/core";
import type { AppendOutcome, Claim, Finish, GenerationParams, LoggedToken, RequestRecord } from "@moiety/queue";

export const params: GenerationParams = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  repetitionPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  seed: "7",
  maxTokens: 16,
  minTokens: 0,
  stopTokenIds: [],
  logitBias: [],
};

export interface ClaimOptions {
  readonly id: string;
  readonly prompt: readonly number[];
  readonly log?: readonly LoggedToken[];
  readonly params?: Partial<GenerationParams>;
  readonly priority?: number;
  readonly createdAtMs?: number;
  readonly cacheSalt?: string;
}

/** A claim whose log is in memory; Redis can be taken away from it. */
export class StandInClaim implements Claim {
  readonly record: RequestRecord;
  readonly log: readonly LoggedToken[];
  readonly claimedAtMs = 0;
  readonly tokens: LoggedToken[];
  promptLogprobs: readonly LoggedToken[] | undefined;
  readonly #abort = new AbortController();
  readonly #over = deferred<Finish | "released">();
  outcome: AppendOutcome = "appended";
  /** Writes wait for this while it is set. */
  outage: Promise<void> | undefined;
  pendingWrites = 0;

  constructor(options: ClaimOptions) {
    this.log = options.log ?? [];
    this.tokens = [...this.log];
    this.record = {
      id: parseRequestId(options.id),
      tenant: parseTenantId("tenant"),
      cacheSalt: options.cacheSalt ?? "",
      priority: options.priority ?? 1,
      createdAtMs: options.createdAtMs ?? 0,
      deadlineAtMs: Number.MAX_SAFE_INTEGER,
      promptTokens: Int32Array.from(options.prompt),
      params: { ...params, ...options.params },
    };
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Settles with the end that was written, or when the claim was given back. */
  get over(): Promise<Finish | "released"> {
    return this.#over.promise;
  }

  get ids(): number[] {
    return this.tokens.map(({ token }) => token);
  }

  cancel(): void {
    this.outcome = "closed";
    this.#abort.abort();
  }

  async append(start: number, tokens: readonly LoggedToken[]): Promise<AppendOutcome> {
    this.pendingWrites += 1;
    await this.outage;
    this.pendingWrites -= 1;
    if (this.outcome !== "appended") return this.outcome;
    if (start > this.tokens.length) throw new Error("a gap in the log");
    this.tokens.push(...tokens.slice(this.tokens.length - start));
    return "appended";
  }

  async putPromptLogprobs(entries: readonly LoggedToken[]): Promise<AppendOutcome> {
    this.promptLogprobs = entries;
    return this.outcome;
  }

  async finish(finish: Finish): Promise<AppendOutcome> {
    await this.outage;
    this.#over.resolve(finish);
    return "appended";
  }

  async release(): Promise<void> {
    this.#over.resolve("released");
  }
}
