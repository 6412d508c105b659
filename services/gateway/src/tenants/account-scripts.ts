import { RedisScript } from "@moiety/queue";
import { TRIM_AUDIT } from "./audit-scripts.js";

/**
 * A limit per minute is a bucket that is full at first and fills at limit / 60 s; its level is kept as of a time. It may go below zero:
 * a request that asks for more than a minute's tokens is let in when the bucket is full, and those behind it wait until that is made good.
 */
const BUCKET = `
local function level(name, limit)
  if limit == 0 then return 0 end
  local kept = redis.call('HMGET', KEYS[1], name, name .. 'At')
  local filled = math.max(0, now - tonumber(kept[2] or now)) * limit / 60000
  return math.min(limit, tonumber(kept[1] or limit) + filled)
end
local function msUntil(wanted, have, limit)
  if limit == 0 or have >= wanted then return 0 end
  return math.ceil((wanted - have) * 60000 / limit)
end
local function spent(name, period)
  local kept = redis.call('HMGET', KEYS[1], name .. 'Of', name)
  if kept[1] ~= period then return 0 end
  return tonumber(kept[2])
end
`;

/**
 * Lets a request in if all limits of its tenant allow it, and reserves what it may take; or none of it.
 * With no tokens to reserve it only looks, for one choice. KEYS account, live, lease, leases. ARGV now, lease ms; limits or 0: requests and tokens per minute, concurrent, tokens per day and
 * month; the day, the month, tokens to reserve, tenant, key, id of the request, what is to be known of it, ids of its choices...
 * Returns {outcome, reason, wait ms, used, requests left, ms until all are, tokens left, ms until all are}; outcome 1: let in, by this
 * call or an earlier one; 2: it was, and is settled; 0: not.
 */
export const admitScript = new RedisScript(`
local now = tonumber(ARGV[1])
${BUCKET}
local perMinute, tokensPerMinute, concurrent = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local perDay, perMonth, reserved = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[10])
local requests, tokens = level('requests', perMinute), level('tokens', tokensPerMinute)
local function answer(outcome, reason, wait, used)
  return {outcome, reason, wait, used, math.floor(math.max(0, requests)), msUntil(perMinute, requests, perMinute),
    math.floor(math.max(0, tokens)), msUntil(tokensPerMinute, tokens, tokensPerMinute)}
end
-- Places outlive the lease, so that others have time to take it over.
local expires, gone = now + tonumber(ARGV[2]), now + 2 * tonumber(ARGV[2])
local function vouch()
  redis.call('ZADD', KEYS[4], expires, ARGV[13])
  for at = 15, #ARGV do redis.call('ZADD', KEYS[2], gone, ARGV[at]) end
  redis.call('PEXPIREAT', KEYS[2], gone)
end
local state = redis.call('HGET', KEYS[3], 'state')
if state == 'settled' then return answer(2, '', 0, 0) end
if state then
  vouch()
  return answer(1, '', 0, 0)
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local live, choices = redis.call('ZCARD', KEYS[2]), math.max(1, #ARGV - 14)
if concurrent > 0 and live + choices > concurrent then return answer(0, 'concurrent', 0, live) end
if perMinute > 0 and requests < 1 then return answer(0, 'requests', msUntil(1, requests, perMinute), 0) end
local wanted = math.min(math.max(1, reserved), tokensPerMinute)
if tokens < wanted then return answer(0, 'tokens', msUntil(wanted, tokens, tokensPerMinute), 0) end
local day, month = spent('day', ARGV[8]), spent('month', ARGV[9])
if perDay > 0 and day + math.max(1, reserved) > perDay then return answer(0, 'day', 0, day) end
if perMonth > 0 and month + math.max(1, reserved) > perMonth then return answer(0, 'month', 0, month) end
if reserved == 0 then return answer(1, '', 0, 0) end
local function keep(name, value, limit)
  if limit > 0 then redis.call('HSET', KEYS[1], name, string.format('%.4f', value), name .. 'At', ARGV[1]) end
end
requests, tokens = requests - 1, tokens - reserved
keep('requests', requests, perMinute)
keep('tokens', tokens, tokensPerMinute)
redis.call('HSET', KEYS[1], 'day', day + reserved, 'dayOf', ARGV[8], 'month', month + reserved, 'monthOf', ARGV[9])
redis.call('PEXPIRE', KEYS[1], 3456000000)
redis.call('HSET', KEYS[3], 'state', 'open', 'tenant', ARGV[11], 'key', ARGV[12], 'reserved', ARGV[10], 'day', ARGV[8],
  'month', ARGV[9], 'about', ARGV[14], 'choices', table.concat(ARGV, ' ', 15))
vouch()
return answer(1, '', 0, 0)
`);

/** Gives back what a request reserved and did not take. \`kept\` are the lease's fields; \`taken\` its tokens. */
const GIVE_BACK = `
local function giveBack(kept, taken)
  local rest = tonumber(kept[4] or '0') - taken
  if redis.call('HEXISTS', KEYS[1], 'tokens') == 1 then redis.call('HINCRBYFLOAT', KEYS[1], 'tokens', rest) end
  for index, name in ipairs({'day', 'month'}) do
    local period = kept[4 + index]
    -- In Lua, minus nothing is "-0", which Redis does not take.
    if period and rest ~= 0 and redis.call('HGET', KEYS[1], name .. 'Of') == period then
      redis.call('HINCRBY', KEYS[1], name, -rest)
    end
  end
  for id in string.gmatch(kept[7] or '', '%S+') do redis.call('ZREM', KEYS[2], id) end
  redis.call('ZREM', KEYS[4], id)
end
`;
const LEASE_FIELDS = "'state', 'tenant', 'key', 'reserved', 'day', 'month', 'choices'";

/**
 * Counts what a request took, once, however often and by whomever it is told; frees the rest of what it reserved; writes the audit log.
 * Of a tenant's keys that begin with a prefix so many are counted apart on a day, and all others together.
 * KEYS account, live, lease, leases, audit. ARGV id, how long to remember that, tenant, key, day, prefix of days' sums, their life, most
 * of them; requests, prompt, cached and completion tokens to count; that prefix, how many, what the others are called; most entries of
 * the audit log, ms of its oldest, field, value...
 * Returns {1, entries written, cut for want of room, cut for their age} counted; {0, 0, 0, 0} it was before.
 */
export const settleScript = new RedisScript(`
local id = ARGV[1]
${GIVE_BACK}${TRIM_AUDIT}
local kept = redis.call('HMGET', KEYS[3], ${LEASE_FIELDS})
if kept[1] == 'settled' then return {0, 0, 0, 0} end
giveBack(kept, ARGV[10] + ARGV[12])
redis.call('DEL', KEYS[3])
redis.call('HSET', KEYS[3], 'state', 'settled')
redis.call('PEXPIRE', KEYS[3], ARGV[2])
local sums, who = ARGV[6] .. (kept[5] or ARGV[5]), ARGV[3] .. '/' .. ARGV[4]
local function isNew() return redis.call('HEXISTS', sums, 'requests ' .. who) == 0 end
local isOneOfMany = string.sub(ARGV[4], 1, #ARGV[13]) == ARGV[13] and isNew()
local many = 'many ' .. ARGV[3]
if isOneOfMany and tonumber(redis.call('HGET', sums, many) or '0') >= tonumber(ARGV[14]) then
  isOneOfMany, who = false, ARGV[3] .. '/' .. ARGV[15]
end
if isNew() and redis.call('HLEN', sums) >= tonumber(ARGV[8]) then isOneOfMany, who = false, '-/-' end
if isOneOfMany then redis.call('HINCRBY', sums, many, 1) end
for index, name in ipairs({'requests', 'prompt', 'cached', 'completion'}) do
  redis.call('HINCRBY', sums, name .. ' ' .. who, ARGV[8 + index])
end
redis.call('PEXPIRE', sums, ARGV[7])
if ARGV[16] == '0' then return {1, 0, 0, 0} end
redis.call('XADD', KEYS[5], '*', unpack(ARGV, 18))
return {1, 1, trimAudit(KEYS[5], ARGV[16], ARGV[17])}
`);

/** As if the request had never been let in. KEYS account, live, lease, leases. ARGV id. */
export const voidScript = new RedisScript(`
local id = ARGV[1]
${GIVE_BACK}
local kept = redis.call('HMGET', KEYS[3], ${LEASE_FIELDS})
if kept[1] ~= 'open' then return 0 end
giveBack(kept, 0)
if redis.call('HEXISTS', KEYS[1], 'requests') == 1 then redis.call('HINCRBYFLOAT', KEYS[1], 'requests', 1) end
redis.call('DEL', KEYS[3])
return 1
`);

/**
 * Vouches for requests that are still being answered. KEYS leases. ARGV expiry of leases and of places, prefix of tenants' sets; for each
 * request: id, tenant, ids of its choices joined by spaces. Returns for each 1, or 0: it is settled.
 */
export const vouchScript = new RedisScript(`
local answers = {}
for at = 4, #ARGV, 3 do
  local known = redis.call('ZSCORE', KEYS[1], ARGV[at])
  if known then
    redis.call('ZADD', KEYS[1], ARGV[1], ARGV[at])
    local live = ARGV[3] .. ARGV[at + 1]
    for id in string.gmatch(ARGV[at + 2], '%S+') do redis.call('ZADD', live, ARGV[2], id) end
    redis.call('PEXPIREAT', live, ARGV[2])
  end
  answers[#answers + 1] = known and 1 or 0
end
return answers
`);
