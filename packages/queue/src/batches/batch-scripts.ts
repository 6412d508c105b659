import { RedisScript } from "../redis-script.js";

/**
 * Notes a new batch and counts it as a use of its input. Repeated with the same id it is still a success.
 * KEYS batch, batches of the tenant, open, open of tenants, input file. ARGV id, tenant, created at, document, most open ones of
 * the tenant, oldest creation that is still remembered. Returns {1}; {0, open} too many; {-1} no such input.
 */
export const createScript = new RedisScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then return {1} end
local input = redis.call('HMGET', KEYS[5], 'state', 'tenant')
if input[1] ~= 'ready' or input[2] ~= ARGV[2] then return {-1} end
local open = tonumber(redis.call('HGET', KEYS[4], ARGV[2]) or '0')
if open >= tonumber(ARGV[5]) then return {0, open} end
redis.call('HSET', KEYS[1], 'tenant', ARGV[2], 'document', ARGV[4], 'version', 1, 'fence', '0', 'holder', '', 'accepts', '0',
  'completed', 0, 'failed', 0, 'input', 0, 'cached', 0, 'output', 0, 'reasoning', 0)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[6])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('HINCRBY', KEYS[4], ARGV[2], 1)
redis.call('HINCRBY', KEYS[5], 'uses', 1)
return {1}
`);

/**
 * Replaces a batch's document if nobody else has meanwhile. An ended batch is given back: its lists go, its use of the input ends.
 * KEYS batch, open, open of tenants, input file, lease, done, results, segments, litter. ARGV id, version, fence or '', document,
 * accepts results, ended, now, retention ms. Returns {0} replaced; {-1} fenced; {-2} changed meanwhile; {-3} gone.
 */
export const replaceScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'version', 'fence', 'document', 'tenant')
if not state[1] then return {-3} end
if ARGV[3] ~= '' and state[2] ~= ARGV[3] then return {-1} end
if state[1] ~= ARGV[2] then
  if state[3] == ARGV[4] then return {0} end
  return {-2}
end
redis.call('HSET', KEYS[1], 'document', ARGV[4], 'version', tonumber(ARGV[2]) + 1, 'accepts', ARGV[5])
if ARGV[6] == '1' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HINCRBY', KEYS[3], state[4], -1)
  if redis.call('EXISTS', KEYS[4]) == 1 then redis.call('HINCRBY', KEYS[4], 'uses', -1) end
  redis.call('DEL', KEYS[5], KEYS[6], KEYS[7], KEYS[8])
  redis.call('ZADD', KEYS[9], ARGV[7], ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[8])
end
return {0}
`);

/**
 * Gives an open batch that nobody works on to a holder: of the tenants that are worked for least, the oldest. The fence is at least the
 * time, so that it does not repeat after a Redis that lost its tail. KEYS open. ARGV token, lease ms, now, prefix of batches, prefix of leases.
 * Returns {} nothing to do; {id, fence, holder before, who let go of it by dying}.
 */
export const claimScript = new RedisScript(`
local free, held = {}, {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, 999)) do
  local tenant = redis.call('HGET', ARGV[4] .. id, 'tenant')
  if not tenant then
    redis.call('ZREM', KEYS[1], id)
  elseif redis.call('EXISTS', ARGV[5] .. id) == 1 then
    held[tenant] = (held[tenant] or 0) + 1
  else
    free[#free + 1] = {id, tenant}
  end
end
local chosen
for _, each in ipairs(free) do
  if not chosen or (held[each[2]] or 0) < (held[chosen[2]] or 0) then chosen = each end
end
if not chosen then return {} end
local batch = ARGV[4] .. chosen[1]
local state = redis.call('HMGET', batch, 'fence', 'holder')
local fence = string.format('%.0f', math.max(tonumber(state[1]) + 1, tonumber(ARGV[3])))
redis.call('SET', ARGV[5] .. chosen[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', batch, 'fence', fence, 'holder', ARGV[1])
return {chosen[1], fence, state[2]}
`);

/**
 * Prolongs a lease, also one that ran out while nobody else took the batch. KEYS batch, lease. ARGV fence, token, lease ms.
 * Returns {0, version}; {-1} fenced; {-3} gone.
 */
export const renewScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'fence', 'version')
if not state[1] then return {-3} end
if state[1] ~= ARGV[1] then return {-1} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return {0, tonumber(state[2])}
`);

/** Lets the next one have a batch at once. KEYS batch, lease. ARGV fence. */
export const releaseScript = new RedisScript(`
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then return {-1} end
redis.call('HSET', KEYS[1], 'holder', '')
redis.call('DEL', KEYS[2])
return {0}
`);

/**
 * Records a line's result, once. KEYS batch, done, results. ARGV fence, line, result, "completed" or "failed", tokens of input, cached,
 * output, reasoning. Returns {0, results in no segment}; {1} it had one; {-1} fenced; {-2} none are accepted; {-3} gone.
 */
export const recordScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'fence', 'accepts')
if not state[1] then return {-3} end
if state[1] ~= ARGV[1] then return {-1} end
if redis.call('GETBIT', KEYS[2], ARGV[2]) == 1 then return {1} end
if state[2] ~= '1' then return {-2} end
redis.call('SETBIT', KEYS[2], ARGV[2], 1)
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
redis.call('HINCRBY', KEYS[1], ARGV[4], 1)
redis.call('HINCRBY', KEYS[1], 'input', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'cached', ARGV[6])
redis.call('HINCRBY', KEYS[1], 'output', ARGV[7])
redis.call('HINCRBY', KEYS[1], 'reasoning', ARGV[8])
return {0, redis.call('HLEN', KEYS[3])}
`);

/**
 * Exchanges results for the segments that hold them. KEYS batch, results, segments. ARGV fence, segments' count, segment..., line...
 * Returns {0}; {-1} fenced; {-3} gone.
 */
export const sealScript = new RedisScript(`
local fence = redis.call('HGET', KEYS[1], 'fence')
if not fence then return {-3} end
if fence ~= ARGV[1] then return {-1} end
local last = 2 + tonumber(ARGV[2])
if redis.call('LINDEX', KEYS[3], -1) == ARGV[last] then return {0} end
redis.call('RPUSH', KEYS[3], unpack(ARGV, 3, last))
redis.call('HDEL', KEYS[2], unpack(ARGV, last + 1))
return {0}
`);
