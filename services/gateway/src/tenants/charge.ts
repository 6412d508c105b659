import type { AppError } from "@moiety/core";
import type { ChoiceEnd } from "../generation/choice.js";
import { toOpenAiError } from "../openai/errors.js";
import type { AccountBook, Lease, Taken } from "./account-book.js";
import type { AccountKeeper } from "./account-keeper.js";
import type { AuditEntry } from "./audit-entry.js";
import type { RateLimits } from "./rate-limits.js";

export interface ChargeParts {
  readonly lease: Lease;
  readonly limits: RateLimits;
  readonly book: AccountBook;
  readonly keeper: AccountKeeper;
  /** Tokens of prompts that were cached, given the choices' ends. */
  readonly cachedOf: (ends: readonly (ChoiceEnd | undefined)[]) => number;
  /** What was asked and answered, for the audit log; absent: it holds no text. `outputs` are the choices' tokens. */
  readonly texts?: (outputs: readonly (readonly number[])[]) => Pick<AuditEntry, "input" | "output">;
}

/** Tokens of a choice that are kept for the audit log. */
const MAX_KEPT_TOKENS = 16_384;

interface ChoiceCount {
  tokens: number;
  end?: ChoiceEnd;
  readonly ids: number[];
}

/** What one request takes, from its admission to its end. Counted once, whatever happens to it. */
export class Charge {
  readonly #parts: ChargeParts;
  readonly #choices: readonly ChoiceCount[];
  #failure: AppError | undefined;
  #isOver = false;

  constructor(parts: ChargeParts) {
    this.#parts = parts;
    this.#choices = parts.lease.choices.map(() => ({ tokens: 0, ids: [] }));
  }

  /** As they were when the request was let in. */
  get limits(): RateLimits {
    return this.#parts.limits;
  }

  tokens(index: number, ids: readonly number[]): void {
    const choice = this.#choices[index];
    if (!choice) return;
    choice.tokens += ids.length;
    if (this.#parts.texts && choice.ids.length < MAX_KEPT_TOKENS) choice.ids.push(...ids);
  }

  end(index: number, end: ChoiceEnd): void {
    const choice = this.#choices[index];
    if (choice) choice.end = end;
  }

  /** The first counts. */
  fail(error: AppError): void {
    this.#failure ??= error;
  }

  /** Nothing of it ran: as if it had not been let in. */
  void(): void {
    const { book, lease } = this.#parts;
    this.#finish(() => book.void(lease));
  }

  /** Another process goes on with it, and will count it. */
  leave(): void {
    this.#finish(undefined);
  }

  /** It has ended, well or not. */
  settle(): void {
    const { book, lease } = this.#parts;
    // Async, so that whatever it throws is the keeper's to report, and not the end of an answer.
    this.#finish(async () => book.settle(lease, this.#taken(), this.#entry()));
  }

  #finish(work: (() => Promise<unknown>) | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { keeper, lease } = this.#parts;
    keeper.letGo(lease.id);
    if (work) keeper.track(work());
  }

  #taken(): Taken {
    const { promptTokens } = this.#parts.lease;
    const completionTokens = this.#choices.reduce((sum, { tokens, end }) => sum + (end?.outputTokens ?? tokens), 0);
    const isAnswered = completionTokens > 0 || this.#choices.some(({ end }) => end !== undefined);
    const prompt = isAnswered ? promptTokens : 0;
    const cached = this.#parts.cachedOf(this.#choices.map(({ end }) => end));
    return { requests: isAnswered ? 1 : 0, promptTokens: prompt, cachedTokens: Math.min(prompt, cached), completionTokens };
  }

  #entry(): AuditEntry {
    const { lease, texts } = this.#parts;
    const failure = this.#failure && toOpenAiError(this.#failure);
    const taken = this.#taken();
    const reasons = this.#choices.flatMap(({ end }) => end?.finishReason ?? []);
    return {
      tenant: lease.caller.tenant,
      keyId: lease.caller.keyId,
      ...(lease.caller.subject === undefined ? {} : { subject: lease.caller.subject }),
      kind: lease.kind,
      requestId: lease.requestId,
      status: failure?.status ?? 200,
      ...(failure ? { code: failure.body.error.code ?? failure.body.error.type } : {}),
      ...(reasons.length > 0 ? { finishReason: reasons.join(",") } : {}),
      promptTokens: taken.promptTokens,
      cachedTokens: taken.cachedTokens,
      completionTokens: taken.completionTokens,
      ...texts?.(this.#choices.map(({ ids }) => ids)),
    };
  }
}
