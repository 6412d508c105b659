import { AppError, type Clock, parseTenantId, type TenantId } from "@moiety/core";
import {
  asArray,
  asText,
  connectRedis,
  disconnectRedis,
  type GenerationParams,
  type LoggedToken,
  patiently,
  queueKeys,
  type RedisConnection,
  type RedisScript,
} from "@moiety/queue";
import type { InputItem } from "./input-items.js";
import { asResponseId, type ResponseId } from "./response-ids.js";
import type { ResponseEnd, ResponseHead } from "./response-object.js";
import { adoptScript, chainScript, createScript, finishScript, removeScript } from "./response-scripts.js";

/** What it takes to read a response's token log as it was meant. */
export interface ResponsePlan {
  readonly params: GenerationParams;
  readonly stops: readonly string[];
  readonly askedStopTokenIds: readonly number[];
  /** Names of the functions that it may call. */
  readonly callable: readonly string[];
  readonly promptTokens: number;
  readonly createdAtMs: number;
  readonly deadlineAtMs: number;
  /** Absent: no log-probabilities are shown. */
  readonly topLogprobs?: number;
  /** Whether thoughts come as `encrypted_content` too. */
  readonly sealed: boolean;
}

export interface StoredResponse {
  readonly tenant: TenantId;
  readonly id: ResponseId;
  readonly head: ResponseHead;
  readonly input: readonly InputItem[];
  readonly plan: ResponsePlan;
  /** Absent: it has not ended. */
  readonly end?: ResponseEnd;
}

/** One response of a conversation. */
export interface ChainLink {
  readonly id: string;
  /** Absent: it is no longer stored. */
  readonly input?: readonly InputItem[];
  readonly end?: ResponseEnd;
}

export interface ResponseStoreOptions {
  readonly redisUrl: string;
  readonly prefix: string;
  /** How long a response is kept after it was made, or last continued. */
  readonly ttlMs: number;
  /** Bytes that one tenant's responses may take; the oldest make room for new ones. */
  readonly maxTenantBytes: number;
  readonly clock: Clock;
  readonly onError: (error: AppError) => void;
}

const PATIENCE_MS = 10_000;
const MAX_CHAIN = 1_024;
/** A gateway that looks after a response says so again before this is over. */
export const LEASE_MS = 6_000;

function fromJson<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new AppError("DATA_LOSS", "a stored response cannot be read", { retryable: false, cause: error });
  }
}

/** Responses in Redis: each belongs to a tenant, lives for a while, and makes room for newer ones. Commands wait for a Redis that is away. */
export class ResponseStore {
  readonly #options: ResponseStoreOptions;
  readonly #redis: RedisConnection;
  readonly #tag: string;
  readonly #open: string;

  constructor(options: ResponseStoreOptions) {
    this.#options = options;
    this.#tag = queueKeys(options.prefix).prefix;
    this.#open = `${this.#tag}:responses:open`;
    const { redisUrl, onError } = options;
    this.#redis = connectRedis({ redisUrl, onError }, "responses");
  }

  /** @throws AppError INVALID_ARGUMENT when it is larger than all of a tenant's responses may be; UNAVAILABLE. */
  async create(response: StoredResponse): Promise<void> {
    const { head, input, plan, id, tenant } = response;
    const { clock, ttlMs, maxTenantBytes } = this.#options;
    const fields = ["head", JSON.stringify(head), "input", JSON.stringify(input), "plan", JSON.stringify(plan)];
    const size = fields.reduce((sum, field) => sum + Buffer.byteLength(field), 0);
    if (size > maxTenantBytes) {
      throw new AppError(
        "INVALID_ARGUMENT",
        `store: the request takes ${size} bytes, of at most ${maxTenantBytes} that are stored`,
        {
          details: { param: "store" },
        },
      );
    }
    const nowMs = clock.nowMs();
    const numbers = [nowMs, nowMs + ttlMs, size, maxTenantBytes, nowMs + LEASE_MS];
    await this.#run(createScript, { tenant, id }, [...numbers, ...fields, "previous", head.previous_response_id ?? ""]);
  }

  /** Undefined for a response that is not there, or another tenant's. @throws AppError UNAVAILABLE, DATA_LOSS. */
  async read(tenant: TenantId, id: ResponseId): Promise<StoredResponse | undefined> {
    const reading = this.#redis.hmget(this.#keyOf(tenant, id), "head", "input", "plan", "end");
    const [head, input, plan, end] = await this.#patiently(reading);
    if (typeof head !== "string" || typeof input !== "string" || typeof plan !== "string") return undefined;
    return {
      tenant,
      id,
      head: fromJson(head),
      input: fromJson(input),
      plan: fromJson(plan),
      ...(typeof end === "string" ? { end: fromJson<ResponseEnd>(end) } : {}),
    };
  }

  /** The tokens of a response that has ended. */
  async tokens(tenant: TenantId, id: ResponseId): Promise<readonly LoggedToken[]> {
    const text = await this.#patiently(this.#redis.hget(this.#keyOf(tenant, id), "tokens"));
    if (text === null) return [];
    return fromJson<(number | LoggedToken)[]>(text).map((entry) => (typeof entry === "number" ? { token: entry } : entry));
  }

  /**
   * Stores the end, unless there is one. Returns the one that counts; its own when the response is no longer there.
   * @throws AppError UNAVAILABLE.
   */
  async finish(response: StoredResponse, end: ResponseEnd, tokens: readonly LoggedToken[]): Promise<ResponseEnd> {
    const compact = tokens.map((entry) => (entry.logprob === undefined && entry.top === undefined ? entry.token : entry));
    const texts = [JSON.stringify(end), JSON.stringify(compact)];
    const size = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    const numbers = [this.#options.clock.nowMs(), size, this.#options.maxTenantBytes];
    const [, earlier] = asArray(await this.#run(finishScript, response, [...numbers, ...texts]));
    return earlier === undefined ? end : fromJson<ResponseEnd>(asText(earlier));
  }

  /** Whether there was one. @throws AppError UNAVAILABLE. */
  async remove(tenant: TenantId, id: ResponseId): Promise<boolean> {
    const [answer] = asArray(await this.#run(removeScript, { tenant, id }, []));
    return answer === 0;
  }

  /** A response and those that it continues, newest first; none of them expires before one that is made now. @throws AppError. */
  async chain(tenant: TenantId, id: ResponseId): Promise<readonly ChainLink[]> {
    const expiresAtMs = this.#options.clock.nowMs() + this.#options.ttlMs;
    const answer = asArray(await this.#run(chainScript, { tenant, id }, [expiresAtMs, MAX_CHAIN + 1]));
    const links: ChainLink[] = [];
    for (let at = 0; at < answer.length; at += 3) {
      const [link, input, end] = answer.slice(at, at + 3);
      links.push({
        id: asText(link),
        ...(Buffer.isBuffer(input) ? { input: fromJson<InputItem[]>(asText(input)) } : {}),
        ...(Buffer.isBuffer(end) ? { end: fromJson<ResponseEnd>(asText(end)) } : {}),
      });
    }
    if (links.length > MAX_CHAIN) {
      const message = `previous_response_id: expected a response that continues at most ${MAX_CHAIN} others`;
      throw new AppError("INVALID_ARGUMENT", message, { details: { param: "previous_response_id" } });
    }
    return links;
  }

  /** Says that these are still looked after, or, with 0, that they no longer are. */
  async renew(responses: readonly Pick<StoredResponse, "tenant" | "id">[], leaseMs = LEASE_MS): Promise<void> {
    if (responses.length === 0) return;
    const untilMs = this.#options.clock.nowMs() + leaseMs;
    const entries = responses.flatMap(({ tenant, id }) => [untilMs, `${tenant}/${id}`]);
    await this.#patiently(this.#redis.zadd(this.#open, "XX", ...entries));
  }

  /** Responses that have not ended and that nobody looks after any longer; from now on the caller does. */
  async adopt(count: number): Promise<readonly Pick<StoredResponse, "tenant" | "id">[]> {
    const nowMs = this.#options.clock.nowMs();
    const answer = await this.#patiently(adoptScript.run(this.#redis, [this.#open], [nowMs, nowMs + LEASE_MS, count]));
    return asArray(answer).flatMap((member) => {
      const [tenant = "", text = ""] = asText(member).split("/");
      const id = asResponseId(text);
      return id === undefined ? [] : [{ tenant: parseTenantId(tenant), id }];
    });
  }

  /** Forgets that a response has not ended: there is none. */
  async drop({ tenant, id }: Pick<StoredResponse, "tenant" | "id">): Promise<void> {
    await this.#patiently(this.#redis.zrem(this.#open, `${tenant}/${id}`));
  }

  close(): Promise<void> {
    return disconnectRedis(this.#redis);
  }

  #keyOf(tenant: TenantId, id: ResponseId): string {
    return `${this.#tag}:response:${tenant}/${id}`;
  }

  #run(
    script: RedisScript,
    { tenant, id }: Pick<StoredResponse, "tenant" | "id">,
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const prefix = `${this.#tag}:response:${tenant}/`;
    const keys = [prefix + id, `${this.#tag}:responses:kept:${tenant}`, `${this.#tag}:responses:sizes:${tenant}`, this.#open];
    return this.#patiently(script.run(this.#redis, keys, [id, prefix, `${tenant}/`, ...args]));
  }

  #patiently<T>(work: Promise<T>): Promise<T> {
    return patiently(work, { clock: this.#options.clock, patienceMs: PATIENCE_MS });
  }
}
