import { GRAMMAR_ENGINE } from "@moiety/grammar";
import { type Claim, createRequestConsumer, type Finish, type LoggedToken, type RequestConsumer } from "@moiety/queue";

/** What a request is answered with. */
export interface Script {
  readonly tokens: readonly (number | LoggedToken)[];
  /** Default: "length" when `maxTokens` were given, else "stop". */
  readonly finish?: Partial<Finish>;
  /** Tokens of one append. Default 1. */
  readonly stride?: number;
  readonly delayMs?: number;
  /** Waited for before the tokens from this index on are appended. */
  readonly before?: (index: number) => Promise<unknown>;
  /** Never finishes. */
  readonly hang?: boolean;
  readonly promptLogprobs?: readonly LoggedToken[];
}

/** Stands where an attention worker would: claims real requests and appends tokens that a test wrote. */
export class ScriptedWorker {
  readonly claims: Claim[] = [];
  script: (claim: Claim) => Script = () => ({ tokens: [] });
  readonly #consumer: RequestConsumer;
  #beat: NodeJS.Timeout | undefined;

  private constructor(consumer: RequestConsumer) {
    this.#consumer = consumer;
  }

  static async start(options: {
    redisUrl: string;
    prefix: string;
    maxContextTokens?: number;
    workerId?: string;
    modelFingerprint?: string;
    grammarEngine?: string;
    capacity?: number;
  }): Promise<ScriptedWorker> {
    const worker = new ScriptedWorker(
      createRequestConsumer({ redisUrl: options.redisUrl, prefix: options.prefix, capacity: options.capacity ?? 256 }),
    );
    await worker.#consumer.start((claim) => {
      worker.claims.push(claim);
      worker.#serve(claim).catch(() => undefined);
    });
    const beat = () =>
      worker.#consumer.beat({
        workerId: options.workerId ?? "scripted",
        modelFingerprint: options.modelFingerprint ?? "f",
        maxContextTokens: options.maxContextTokens ?? 4_096,
        running: 0,
        waiting: 0,
        kvUsage: 0,
        grammarEngine: options.grammarEngine ?? GRAMMAR_ENGINE,
      });
    await beat();
    worker.#beat = setInterval(() => beat().catch(() => undefined), 500);
    return worker;
  }

  async close(): Promise<void> {
    clearInterval(this.#beat);
    await this.#consumer.close();
  }

  get last(): Claim {
    const claim = this.claims.at(-1);
    if (!claim) throw new Error("nothing was claimed");
    return claim;
  }

  async #serve(claim: Claim): Promise<void> {
    const script = this.script(claim);
    const tokens = script.tokens
      .map((token) => (typeof token === "number" ? { token } : token))
      .slice(0, claim.record.params.maxTokens);
    if (script.promptLogprobs) await claim.putPromptLogprobs(script.promptLogprobs);
    const stride = script.stride ?? 1;
    for (let at = claim.log.length; at < tokens.length && !claim.signal.aborted; at += stride) {
      if (script.delayMs) await new Promise((resolve) => setTimeout(resolve, script.delayMs));
      await script.before?.(at);
      if ((await claim.append(at, tokens.slice(at, at + stride))) !== "appended") return;
    }
    if (script.hang) return;
    await claim.finish({
      reason: tokens.length >= claim.record.params.maxTokens ? "length" : "stop",
      promptTokens: claim.record.promptTokens.length,
      cachedTokens: 0,
      outputTokens: tokens.length,
      queueMs: 0,
      prefillMs: 0,
      decodeMs: 0,
      ...script.finish,
    });
  }
}
