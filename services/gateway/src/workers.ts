import type { Clock } from "@moiety/core";
import type { RequestProducer, WorkerBeat } from "@moiety/queue";

const REFRESH_MS = 1_000;

export interface WorkersOptions {
  readonly producer: RequestProducer;
  readonly clock: Clock;
  /** The model's own limit. */
  readonly maxContextTokens: number;
  /** The gateway's own checkpoint; absent: workers are not compared with it. */
  readonly fingerprint: string | undefined;
}

/** What attention workers last said about themselves, refreshed in the background. */
export class Workers {
  readonly #producer: RequestProducer;
  readonly #clock: Clock;
  readonly #fingerprint: string | undefined;
  readonly #closing = new AbortController();
  #contextTokens: number;
  #ours: readonly WorkerBeat[] = [];

  constructor(options: WorkersOptions) {
    this.#producer = options.producer;
    this.#clock = options.clock;
    this.#fingerprint = options.fingerprint;
    this.#contextTokens = options.maxContextTokens;
    this.#run(options.maxContextTokens).catch(() => undefined);
  }

  /** Longest prompt plus output that any worker may be given: a request can come to the smallest of them. Kept while none is there. */
  get contextTokens(): number {
    return this.#contextTokens;
  }

  /** A worker that could not go on with a request whose grammar was checked with this engine; absent: every one could, or none is there. */
  withoutEngine(grammarEngine: string): string | undefined {
    return this.#ours.find((beat) => beat.grammarEngine !== grammarEngine)?.workerId;
  }

  /** Why requests cannot be served rightly, as far as the workers are concerned; empty when they can. */
  async missing(): Promise<readonly string[]> {
    const beats = await this.#producer.workers();
    const strangers = beats.filter((beat) => !this.#isOurs(beat));
    const faults = strangers.map((beat) => this.#describeStranger(beat));
    return strangers.length === beats.length ? ["attention worker", ...faults] : faults;
  }

  close(): void {
    this.#closing.abort();
  }

  async #run(maxContextTokens: number): Promise<void> {
    while (!this.#closing.signal.aborted) {
      const beats = await this.#producer.workers().catch(() => []);
      const ours = beats.filter((beat) => this.#isOurs(beat));
      this.#ours = ours;
      const limits = ours.map((beat) => beat.maxContextTokens).filter((limit) => limit > 0);
      if (limits.length > 0) this.#contextTokens = Math.min(maxContextTokens, ...limits);
      await this.#clock.sleep(REFRESH_MS, this.#closing.signal);
    }
  }

  #isOurs({ modelFingerprint }: WorkerBeat): boolean {
    return this.#fingerprint === undefined || modelFingerprint === this.#fingerprint;
  }

  #describeStranger({ workerId, modelFingerprint }: WorkerBeat): string {
    const [theirs, ours] = [modelFingerprint, this.#fingerprint ?? ""].map((text) => text.slice(0, 12));
    return `attention worker ${workerId} serves another checkpoint: its fingerprint begins with ${theirs}, this gateway's with ${ours}`;
  }
}
