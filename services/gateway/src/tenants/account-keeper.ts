import { AppError, type Clock, type RequestId } from "@moiety/core";
import type { Finish, RequestProducer } from "@moiety/queue";
import type { Logger } from "@moiety/runtime";
import type { AccountBook, Lease } from "./account-book.js";

export interface AccountKeeperOptions {
  readonly book: AccountBook;
  readonly producer: Pick<RequestProducer, "progress">;
  readonly clock: Clock;
  readonly leaseMs: number;
  readonly logger: Logger;
}

/** A lease, and when this process stops to vouch for it whatever happens. */
interface Held {
  readonly lease: Lease;
  readonly untilMs: number;
}

/** Abandoned leases that one round looks at. */
const ABANDONED_PER_ROUND = 64;

/**
 * Sees to it that what requests reserve is given back. Whoever admitted a request vouches for its lease until it is settled; a lease that
 * nobody vouches for is another gateway's that died, and is settled by what the token log says once the request has ended.
 */
export class AccountKeeper {
  readonly #options: AccountKeeperOptions;
  readonly #held = new Map<RequestId, Held>();
  readonly #pending = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #watching: Promise<void> | undefined;

  constructor(options: AccountKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#watching ??= this.#watch();
  }

  hold(lease: Lease, untilMs: number): void {
    this.#held.set(lease.id, { lease, untilMs });
  }

  letGo(id: RequestId): void {
    this.#held.delete(id);
  }

  /** Follows work that is done in the background, so that it is done before this process ends. */
  track(work: Promise<unknown>): void {
    const done: Promise<void> = work
      .then(
        () => undefined,
        (error: unknown) => this.#report(error),
      )
      .finally(() => this.#pending.delete(done));
    this.#pending.add(done);
  }

  /** Waits a while for what is under way; leases that are held are left to other gateways. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#watching;
    const patience = new AbortController();
    const late = this.#options.clock.sleep(2_000, patience.signal).catch(() => undefined);
    await Promise.race([Promise.all(this.#pending), late]);
    patience.abort();
  }

  async #watch(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const pauseMs = (this.#options.leaseMs / 4) * (0.75 + Math.random() / 2);
      await this.#options.clock.sleep(pauseMs, signal).catch(() => undefined);
      if (!signal.aborted) await this.#round().catch((error: unknown) => this.#report(error));
    }
  }

  async #round(): Promise<void> {
    const { book, clock } = this.#options;
    const nowMs = clock.nowMs();
    for (const [id, { untilMs }] of this.#held) if (untilMs < nowMs) this.#held.delete(id);
    const leases = [...this.#held.values()].map(({ lease }) => lease);
    await book.vouch(leases);
    for (const lease of await book.abandoned(ABANDONED_PER_ROUND)) {
      if (!this.#held.has(lease.id)) await this.#settleAbandoned(lease);
    }
  }

  async #settleAbandoned(lease: Lease): Promise<void> {
    const { book, producer, logger } = this.#options;
    const progress = await Promise.all(lease.choices.map((id) => producer.progress(id)));
    if (progress.some((each) => each !== undefined && !each.finished)) {
      await book.vouch([lease]);
      return;
    }
    const finishes = progress.flatMap((each) => each?.finish ?? []);
    const taken = takenBy(finishes, lease.promptTokens);
    const entry = {
      tenant: lease.caller.tenant,
      keyId: lease.caller.keyId,
      kind: lease.kind,
      requestId: lease.requestId,
      status: 499,
      code: "gateway_lost",
      finishReason: finishes.map(({ reason }) => reason).join(","),
      promptTokens: taken.promptTokens,
      cachedTokens: taken.cachedTokens,
      completionTokens: taken.completionTokens,
    };
    if (await book.settle(lease, taken, entry)) logger.info({ request: lease.id }, "settled a request of a gateway that is gone");
  }

  #report(error: unknown): void {
    this.#options.logger.warn({ err: AppError.from(error) }, "keeping accounts failed; it will be tried again");
  }
}

/** What a request took whose answer nobody read to its end. Of what was cached at most: nobody knows any more which choices shared a prompt. */
function takenBy(finishes: readonly Finish[], promptTokens: number) {
  const sum = (of: (finish: Finish) => number) => finishes.reduce((total, finish) => total + of(finish), 0);
  const completionTokens = sum(({ outputTokens }) => outputTokens);
  const isAnswered = completionTokens > 0 || finishes.some(({ reason }) => reason === "stop" || reason === "length");
  const prompt = isAnswered ? promptTokens : 0;
  return {
    requests: isAnswered ? 1 : 0,
    promptTokens: prompt,
    cachedTokens: Math.min(
      prompt,
      sum(({ cachedTokens }) => cachedTokens),
    ),
    completionTokens,
  };
}
