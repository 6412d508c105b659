import { RedisScript } from "./redis-script.js";
import { PASS_TURN, TAKE_TURN } from "./turns.js";

/**
 * Counts what is in BullMQ's own structures and what is on its way into them, and writes the record if there is room.
 * KEYS record, admitting, wait, prioritized, active, turns. ARGV id, nonce, now, bound, expires at, job key's prefix, job id, feed, tenant,
 * expected tokens, first score of the priority and of the next, field, value...
 * Returns {1, count with it} admitted; {1} it was already; {0, count} full; {-1} the id is taken by another request.
 */
export const admitScript = new RedisScript(`${TAKE_TURN}
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
redis.call('HSET', KEYS[1], 'nonce', ARGV[2], 'fence', '0', 'holder', '', 'expiresAt', ARGV[5], 'feed', ARGV[8], 'cost', ARGV[10],
  'turn', takeTurn(KEYS[6], ARGV[9], tonumber(ARGV[10]), redis.call('ZCOUNT', KEYS[4], ARGV[11], '(' .. ARGV[12])), unpack(ARGV, 13))
redis.call('PEXPIREAT', KEYS[1], ARGV[5])
return {1, count + 1}
`);

/**
 * Takes a request into a consumer's hands. The fence is at least the time, so that it does not repeat after a Redis that lost its tail.
 * A holder that is still written down has died or lost its lock: that is a takeover, and takeovers without a new token are counted.
 * KEYS record, log. ARGV holder, now, prefix of turns, field...
 * Returns {fence, takeovers, [fields], [entries], 1 if it had a holder, else 0}; {-1} no such record; {-2} finished.
 */
export const claimScript = new RedisScript(`${PASS_TURN}
local state = redis.call('HMGET', KEYS[1], 'fence', 'holder', 'takeovers', 'progress', 'finish', 'turn', 'priority')
if not state[1] then return {-1} end
if state[5] then return {-2} end
local length = redis.call('LLEN', KEYS[2])
local takeovers = tonumber(state[3] or '0')
if state[2] ~= '' then
  if length > tonumber(state[4] or '0') then takeovers = 1 else takeovers = takeovers + 1 end
end
local fence = string.format('%.0f', math.max(tonumber(state[1]) + 1, tonumber(ARGV[2])))
redis.call('HSET', KEYS[1], 'fence', fence, 'holder', ARGV[1], 'takeovers', takeovers, 'progress', length)
if state[6] then passTurn(ARGV[3] .. state[7], state[6]) end
return {fence, takeovers, redis.call('HMGET', KEYS[1], unpack(ARGV, 4)), redis.call('LRANGE', KEYS[2], 0, -1),
  state[2] ~= '' and 1 or 0}
`);

/** Clears the holder's name, so that the next claim is not taken for a takeover. KEYS record. ARGV fence. */
export const letGoScript = new RedisScript(`
if redis.call('HGET', KEYS[1], 'fence') == ARGV[1] then redis.call('HSET', KEYS[1], 'holder', '') end
return {0}
`);

/**
 * Prolongs held jobs' BullMQ locks, and takes those again that expired while Redis was away and whose job nobody else has claimed.
 * KEYS active, stalled. ARGV prefixes of records and of jobs, lock ms; for each job: request id, fence, job id, lock token.
 * Returns a number for each: 0 held; -1 fenced, or no longer ours; -2 closed; -3 gone.
 */
export const renewScript = new RedisScript(`
local function renew(id, fence, job, mine)
  local state = redis.call('HMGET', ARGV[1] .. id, 'fence', 'finish')
  if not state[1] then return -3 end
  if tonumber(state[1]) > tonumber(fence) then return -1 end
  local lock = ARGV[2] .. job .. ':lock'
  local token = redis.call('GET', lock)
  if token and token ~= mine then return -1 end
  if not token and not redis.call('LPOS', KEYS[1], job) then return -1 end
  redis.call('SET', lock, mine, 'PX', ARGV[3])
  redis.call('SREM', KEYS[2], job)
  if state[2] then return -2 end
  return 0
end
local answers = {}
for at = 4, #ARGV, 4 do answers[#answers + 1] = renew(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]) end
return answers
`);
