import { AppError, type Clock } from "@moiety/core";
import type { ResponseId } from "./response-ids.js";
import { type ResponseRun, type RunContext, resumeRun, settleIn } from "./response-run.js";
import { LEASE_MS, type ResponseStore, type StoredResponse } from "./response-store.js";

/** Responses of other gateways that one round takes over, and that are read at once before no more are. */
const ADOPTED_PER_ROUND = 32;
const ADOPTED_AT_ONCE = 256;
/** A request may still be on its way into the queue for so long. */
const SUBMIT_PATIENCE_MS = 30_000;

interface Kept {
  readonly response: StoredResponse;
  readonly stop?: AbortController;
}

/**
 * Sees to it that every stored response gets its end. Generation goes on without any gateway, in workers and their token logs; but logs
 * expire, and somebody has to read each to its end before. That is the gateway that began the response, or, when it stops renewing its
 * lease, whichever notices first. Two who read the same log store the same end.
 */
export class ResponseKeeper {
  readonly #context: RunContext;
  readonly #store: ResponseStore;
  readonly #clock: Clock;
  readonly #kept = new Map<ResponseId, Kept>();
  readonly #closing = new AbortController();
  readonly #watching: Promise<void>;

  constructor(context: RunContext, store: ResponseStore) {
    this.#context = context;
    this.#store = store;
    this.#clock = context.clock;
    this.#watching = this.#watch();
  }

  /** Renews a response's lease while somebody else in this process reads it. Returns how to end that. */
  guard(response: StoredResponse): () => void {
    const kept: Kept = { response };
    this.#kept.set(response.id, kept);
    return () => {
      if (this.#kept.get(response.id) === kept) this.#kept.delete(response.id);
    };
  }

  /** Reads a response that has not ended, for whoever asks. */
  read(response: StoredResponse, signal: AbortSignal): ResponseRun {
    return resumeRun(this.#context, { response, settle: settleIn(this.#store), signal });
  }

  /** Reads a response to its end, in the background. `begun` is a reading that `stop` ends. */
  keep(response: StoredResponse, begun?: { readonly run: ResponseRun; readonly stop: AbortController }): void {
    const stop = begun?.stop ?? new AbortController();
    const run = begun?.run ?? this.read(response, stop.signal);
    const kept: Kept = { response, stop };
    this.#kept.set(response.id, kept);
    if (this.#closing.signal.aborted) stop.abort();
    this.#finish(run, kept).finally(() => {
      if (this.#kept.get(response.id) === kept) this.#kept.delete(response.id);
    });
  }

  /** Leaves everything to other gateways. */
  async close(): Promise<void> {
    const left = [...this.#kept.values()].map(({ response }) => response);
    this.#closing.abort();
    for (const { stop } of this.#kept.values()) stop?.abort(new AppError("CANCELLED", "the gateway is shutting down"));
    await this.#watching;
    await this.#store.renew(left, 0).catch((error: unknown) => this.#report(error));
  }

  async #finish(run: ResponseRun, { response, stop }: Kept): Promise<void> {
    try {
      await run.finish();
      const { failure } = run;
      if (failure && failure.code !== "CANCELLED")
        this.#context.logger.error({ err: failure, response: response.id }, "a response failed");
    } catch (error) {
      // Its lease runs out, and it is taken up again.
      if (!stop?.signal.aborted) this.#report(error);
    }
  }

  async #watch(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const pauseMs = (LEASE_MS / 3) * (0.75 + Math.random() / 2);
      await this.#clock.sleep(pauseMs, signal).catch(() => undefined);
      if (!signal.aborted) await this.#round().catch((error: unknown) => this.#report(error));
    }
  }

  async #round(): Promise<void> {
    await this.#store.renew([...this.#kept.values()].map(({ response }) => response));
    const room = Math.min(ADOPTED_PER_ROUND, ADOPTED_AT_ONCE - this.#kept.size);
    if (room <= 0) return;
    for (const abandoned of await this.#store.adopt(room)) {
      if (this.#kept.has(abandoned.id)) continue;
      const response = await this.#store.read(abandoned.tenant, abandoned.id);
      if (!response || response.end) await this.#store.drop(abandoned);
      else if (await isReadable(this.#context, response)) this.keep(response);
    }
  }

  #report(error: unknown): void {
    this.#context.logger.warn({ err: error }, "keeping responses failed; it will be tried again");
  }
}

/** Whether a response's log can be read, or is certain never to be. */
export async function isReadable({ producer, clock }: RunContext, { id, plan }: StoredResponse): Promise<boolean> {
  return clock.nowMs() - plan.createdAtMs > SUBMIT_PATIENCE_MS || (await producer.progress(id)) !== undefined;
}
