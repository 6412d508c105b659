import { createHash } from "node:crypto";
import { AppError } from "@moiety/core";
import type { Redis } from "ioredis";

type Value = string | number | Buffer;

/** A Lua script that runs atomically in Redis. Its answers come back as buffers, numbers, nulls and arrays of them. */
export class RedisScript {
  readonly #source: string;
  readonly #sha: string;

  constructor(source: string) {
    this.#source = source;
    this.#sha = createHash("sha1").update(source).digest("hex");
  }

  async run(redis: Redis, keys: readonly string[], args: readonly Value[]): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    try {
      return await redis.callBuffer("EVALSHA", this.#sha, ...rest);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
      return redis.callBuffer("EVAL", this.#source, ...rest);
    }
  }
}

/** Narrows a script's answer. @throws AppError INTERNAL when a script answered with something else than it is written to. */
export function asArray(answer: unknown): readonly (Buffer | number | null)[] {
  if (Array.isArray(answer)) return answer;
  throw new AppError("INTERNAL", "a script answered with something that is not a list");
}

export function asText(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString() : value === null || value === undefined ? "" : String(value);
}

export function asBuffers(values: readonly unknown[]): (Buffer | null)[] {
  return values.map((value) => (Buffer.isBuffer(value) ? value : null));
}

/**
 * Counts what is in BullMQ's own structures and what is on its way into them, and writes the record if there is room.
 * KEYS record, admitting, wait, prioritized, active. ARGV id, nonce, now, bound, expires at, job key's prefix, job id, field, value...
 * Returns {1, count with it} admitted; {1} it was already; {0, count} full; {-1} the id is taken by another request.
 */
export const admitScript = new RedisScript(`
local nonce = redis.call('HGET', KEYS[1], 'nonce')
if nonce then
  if nonce == ARGV[2] then return {1} end
  return {-1}
end
local now = tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 5000)
local count = redis.call('LLEN', KEYS[3]) + redis.call('ZCARD', KEYS[4]) + redis.call('LLEN', KEYS[5])
for _, job in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if redis.call('EXISTS', ARGV[6] .. job) == 1 then redis.call('ZREM', KEYS[2], job) else count = count + 1 end
end
if count >= tonumber(ARGV[4]) then return {0, count} end
redis.call('ZADD', KEYS[2], now, ARGV[7])
redis.call('HSET', KEYS[1], 'nonce', ARGV[2], 'fence', '0', 'holder', '', 'expiresAt', ARGV[5], unpack(ARGV, 8))
redis.call('PEXPIREAT', KEYS[1], ARGV[5])
return {1, count + 1}
`);

/**
 * Takes a request into a consumer's hands. The fence is at least the time, so that it does not repeat after a Redis that lost its tail.
 * A holder that is still written down has died or lost its lock: that is a takeover, and takeovers without a new token are counted.
 * KEYS record, log. ARGV holder, now, field...
 * Returns {fence, takeovers, [fields], [entries], [prior holder]}; {-1} no such record; {-2} finished.
 */
export const claimScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'fence', 'holder', 'takeovers', 'progress', 'finish')
if not state[1] then return {-1} end
if state[5] then return {-2} end
local length = redis.call('LLEN', KEYS[2])
local takeovers = tonumber(state[3] or '0')
if state[2] ~= '' then
  if length > tonumber(state[4] or '0') then takeovers = 1 else takeovers = takeovers + 1 end
end
local fence = string.format('%.0f', math.max(tonumber(state[1]) + 1, tonumber(ARGV[2])))
redis.call('HSET', KEYS[1], 'fence', fence, 'holder', ARGV[1], 'takeovers', takeovers, 'progress', length)
return {fence, takeovers, redis.call('HMGET', KEYS[1], unpack(ARGV, 3)), redis.call('LRANGE', KEYS[2], 0, -1)}
`);

/** Shared by the scripts that write for a holder: returns early for a record that is gone, finished, or another's. */
const CHECK_HOLDER = `
local state = redis.call('HMGET', KEYS[1], 'fence', 'finish', 'expiresAt', 'finishFence')
if not state[1] then return {-3} end
local stored, mine = tonumber(state[1]), tonumber(ARGV[1])
if stored > mine then return {-1} end
`;

/** A Redis that lost its tail may have forgotten the newest claim: the newer fence is right. */
const KEEP_FENCE = `
if stored < mine then redis.call('HSET', KEYS[1], 'fence', ARGV[1]) end
`;

/**
 * Appends entries from index \`start\`, skipping those that are already there.
 * KEYS record, log. ARGV fence, start, channel, entry...
 * Returns {0, length} appended; {1, length} the log is shorter than \`start\`; {-1} fenced; {-2} closed; {-3} gone.
 */
export const appendScript = new RedisScript(`${CHECK_HOLDER}
if state[2] then return {-2} end
${KEEP_FENCE}
local length, start, count = redis.call('LLEN', KEYS[2]), tonumber(ARGV[2]), #ARGV - 3
if start > length then return {1, length} end
if start + count <= length then return {0, length} end
local fresh = 4 + length - start
redis.call('RPUSH', KEYS[2], unpack(ARGV, fresh))
if length == 0 then redis.call('PEXPIREAT', KEYS[2], state[3]) end
redis.call('PUBLISH', ARGV[3], struct.pack('<BI4', 0, length) .. table.concat(ARGV, '', fresh))
return {0, start + count}
`);

/** Closes a log: stores the finish, publishes it, and lets record and log expire. ARGV[2] now, [3] ttl, [4] channel; \`finish\`, \`length\`. */
const CLOSE_LOG = `
redis.call('HSET', KEYS[1], 'finish', finish, 'finishFence', fence, 'finishLength', length, 'holder', '')
local expires = string.format('%.0f', tonumber(ARGV[2]) + tonumber(ARGV[3]))
redis.call('PEXPIREAT', KEYS[1], expires)
redis.call('PEXPIREAT', KEYS[2], expires)
redis.call('PUBLISH', ARGV[4], struct.pack('<BI4', 1, length) .. finish)
`;

/**
 * Writes the end for its holder, once; repeated by the same holder it is still a success.
 * KEYS record, log. ARGV fence, now, ttl, channel, finish, length.
 * Returns {0} written; {1, length} the log is not yet \`length\` long; {-1} fenced; {-2} closed; {-3} gone.
 */
export const finishScript = new RedisScript(`${CHECK_HOLDER}
if state[2] then
  if state[4] == ARGV[1] then return {0} end
  return {-2}
end
${KEEP_FENCE}
local length, fence, finish = redis.call('LLEN', KEYS[2]), ARGV[1], ARGV[5]
if length < tonumber(ARGV[6]) then return {1, length} end
${CLOSE_LOG}
return {0}
`);

/**
 * Ends a request whoever holds it, and tells the holder.
 * KEYS record, log. ARGV unused, now, ttl, channel, prefix of the holders' channels, request id. Returns {0, holder}; {-2} finished; {-3} gone.
 */
export const cancelScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'fence', 'finish', 'holder', 'promptCount')
if not state[1] then return {-3} end
if state[2] then return {-2} end
local length, fence = redis.call('LLEN', KEYS[2]), 'cancel'
local finish = '{"reason":"cancelled","promptTokens":' .. state[4] .. ',"cachedTokens":0,"outputTokens":' .. length
  .. ',"queueMs":0,"prefillMs":0,"decodeMs":0}'
${CLOSE_LOG}
if state[3] ~= '' then redis.call('PUBLISH', ARGV[5] .. state[3], ARGV[6]) end
return {0, state[3]}
`);

/** Clears the holder's name, so that the next claim is not taken for a takeover. KEYS record. ARGV fence. */
export const letGoScript = new RedisScript(`
if redis.call('HGET', KEYS[1], 'fence') == ARGV[1] then redis.call('HSET', KEYS[1], 'holder', '') end
return {0}
`);

/**
 * Prolongs a held job's BullMQ lock, and takes it again when it expired while Redis was away and nobody else has claimed the job.
 * KEYS record, lock, active, stalled. ARGV fence, job id, lock token, lock ms.
 * Returns {0} held; {-1} fenced, or no longer ours; {-2} closed; {-3} gone.
 */
export const renewScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'fence', 'finish')
if not state[1] then return {-3} end
if tonumber(state[1]) > tonumber(ARGV[1]) then return {-1} end
local token = redis.call('GET', KEYS[2])
if token and token ~= ARGV[3] then return {-1} end
if not token and not redis.call('LPOS', KEYS[3], ARGV[2]) then return {-1} end
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
redis.call('SREM', KEYS[4], ARGV[2])
if state[2] then return {-2} end
return {0}
`);

/** Reads a log. KEYS record, log. ARGV from, count. Returns {-1} no such record; {length, finish or nil, [entries]}. */
export const readScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'fence', 'finish')
if not state[1] then return {-1} end
local from = tonumber(ARGV[1])
return {redis.call('LLEN', KEYS[2]), state[2], redis.call('LRANGE', KEYS[2], from, from + tonumber(ARGV[2]) - 1)}
`);

/** Stores the prompt's log-probabilities. KEYS record, log. ARGV fence, entries. Answers as {@link appendScript}. */
export const promptScript = new RedisScript(`${CHECK_HOLDER}
if state[2] then return {-2} end
redis.call('HSET', KEYS[1], 'promptLogprobs', ARGV[2])
return {0, 0}
`);
