import { AppError } from "@moiety/core";
import { Redis } from "ioredis";
import type { Lease, RenewOutcome, TakeOutcome, TakeRequest } from "./lease.js";

export interface RedisLeaseOptions {
  readonly redisUrl: string;
  /** Keeps clusters apart that share a Redis. */
  readonly prefix: string;
  /** This process and no other, not even one before it under the same name. */
  readonly holder: string;
  readonly leaseMs: number;
  /** Told about lost connections. Never throws. */
  readonly onError?: (error: AppError) => void;
}

/** KEYS: lease, term. The lease is `TERM HOLDER`, or `given-back`; the greatest term ever given outlives it. */
const TAKE = `
local held = redis.call('GET', KEYS[1])
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if held and held ~= 'given-back' then
  local term, holder = string.match(held, '^(%d+) (.*)$')
  if holder ~= ARGV[1] then return {'held', term, holder, redis.call('PTTL', KEYS[1])} end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {'taken', term, '', 0}
end
if not held and last > 0 and ARGV[4] == '0' then return {'lapsed', string.format('%d', last), '', 0} end
local term = string.format('%d', math.max(last, tonumber(ARGV[3])) + 1)
redis.call('SET', KEYS[2], term)
redis.call('SET', KEYS[1], term .. ' ' .. ARGV[1], 'PX', ARGV[2])
return {'taken', term, '', 0}`;

/** One that ran out, or that Redis lost, is taken again unless another has led since. */
const RENEW = `
local held = redis.call('GET', KEYS[1])
local mine = ARGV[3] .. ' ' .. ARGV[1]
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
if held ~= mine then
  if held and held ~= 'given-back' then
    local term, holder = string.match(held, '^(%d+) (.*)$')
    return {'lost', term, holder, 0}
  end
  if last > tonumber(ARGV[3]) then return {'lost', string.format('%d', last), '', 0} end
end
if last < tonumber(ARGV[3]) then redis.call('SET', KEYS[2], ARGV[3]) end
redis.call('SET', KEYS[1], mine, 'PX', ARGV[2])
return {'renewed', ARGV[3], '', 0}`;

const GIVE_BACK = `
if redis.call('GET', KEYS[1]) == ARGV[3] .. ' ' .. ARGV[1] then redis.call('SET', KEYS[1], 'given-back') end
return {'given-back', ARGV[3], '', 0}`;

/** A lease in Redis. Commands fail within a part of the lease's time, rather than wait for a Redis that is away. */
export class RedisLease implements Lease {
  readonly #options: RedisLeaseOptions;
  readonly #redis: Redis;
  readonly #keys: readonly [string, string];

  constructor(options: RedisLeaseOptions) {
    this.#options = options;
    this.#keys = [`{${options.prefix}}:router:lease`, `{${options.prefix}}:router:term`];
    this.#redis = new Redis(options.redisUrl, {
      connectionName: "moiety-router-lease",
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      commandTimeout: options.leaseMs / 2,
      connectTimeout: 2_000,
      // A connection that answers nothing for so long is given up.
      socketTimeout: 2 * options.leaseMs,
      retryStrategy: (attempt) => Math.min(25 * 2 ** Math.min(attempt, 3), 200),
      reconnectOnError: (error) => error.message.startsWith("READONLY"),
    });
    this.#redis.on("error", (error: Error) => options.onError?.(unavailable(error)));
  }

  async take({ knownTerm, evenIfLapsed }: TakeRequest): Promise<TakeOutcome> {
    const { kind, term, holder, remainingMs } = await this.#run(TAKE, knownTerm, evenIfLapsed ? "1" : "0");
    if (kind === "held") return { kind, term, holder, remainingMs };
    return kind === "taken" ? { kind, term } : { kind: "lapsed", term };
  }

  async renew(term: number): Promise<RenewOutcome> {
    const answer = await this.#run(RENEW, term);
    return answer.kind === "renewed" ? { kind: "renewed" } : { kind: "lost", term: answer.term, holder: answer.holder };
  }

  async giveBack(term: number): Promise<void> {
    await this.#run(GIVE_BACK, term);
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #run(script: string, term: number, ...more: readonly string[]) {
    const { holder, leaseMs } = this.#options;
    try {
      // So seldom that the script may travel every time.
      const answer = await this.#redis.eval(script, 2, ...this.#keys, holder, leaseMs, term, ...more);
      const [kind, given, other, remainingMs] = answer as readonly [string, string, string, number];
      return { kind, term: Number(given), holder: other, remainingMs: Math.max(0, remainingMs) };
    } catch (error) {
      throw unavailable(error);
    }
  }
}

function unavailable(error: unknown): AppError {
  const { message, name } = error instanceof Error ? error : { message: "", name: String(error) };
  return new AppError("UNAVAILABLE", `redis: ${message || name}`, { cause: error });
}
