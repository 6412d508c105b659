import type { Clock } from "@moiety/core";
import type { RequestProducer, WorkerBeat } from "@moiety/queue";

const REFRESH_MS = 1_000;

/** What attention workers last said about themselves, refreshed in the background. */
export class Workers {
  readonly #producer: RequestProducer;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  #beats: readonly WorkerBeat[] = [];
  #contextTokens: number;

  /** `maxContextTokens` is the model's own limit. */
  constructor(options: { readonly producer: RequestProducer; readonly clock: Clock; readonly maxContextTokens: number }) {
    this.#producer = options.producer;
    this.#clock = options.clock;
    this.#contextTokens = options.maxContextTokens;
    this.#run(options.maxContextTokens).catch(() => undefined);
  }

  /** Workers whose beat was fresh a moment ago. */
  get beats(): readonly WorkerBeat[] {
    return this.#beats;
  }

  /** Longest prompt plus output that any worker may be given: a request can come to the smallest of them. Kept while none is there. */
  get contextTokens(): number {
    return this.#contextTokens;
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(maxContextTokens: number): Promise<void> {
    while (!this.#closing.signal.aborted) {
      this.#beats = await this.#producer.workers().catch(() => []);
      const limits = this.#beats.map((beat) => beat.maxContextTokens).filter((limit) => limit > 0);
      if (limits.length > 0) this.#contextTokens = Math.min(maxContextTokens, ...limits);
      await this.#clock.sleep(REFRESH_MS, this.#closing.signal);
    }
  }
}
