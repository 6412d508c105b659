import { RedisScript } from "@moiety/queue";

/**
 * Keys of every script here: the response, its tenant's responses by the time they expire, their sizes in bytes (and `total`), and the
 * cluster's responses that have not ended, by the time until which a gateway looks after them. The response's own key is the first.
 * ARGV[1] is its id, [2] the prefix of the tenant's responses, [3] the prefix of the tenant's members of the last key.
 */
const FORGET = `
local function forget(id)
  redis.call('DEL', ARGV[2] .. id)
  redis.call('ZREM', KEYS[2], id)
  redis.call('ZREM', KEYS[4], ARGV[3] .. id)
  local size = redis.call('HGET', KEYS[3], id)
  if size then
    redis.call('HDEL', KEYS[3], id)
    redis.call('HINCRBY', KEYS[3], 'total', -tonumber(size))
  end
end
`;

/** Makes room: what has expired goes first, then what would expire soonest, never the response at hand. */
const MAKE_ROOM = `${FORGET}
local function makeRoom(now, bound)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do forget(id) end
  while tonumber(redis.call('HGET', KEYS[3], 'total') or '0') > bound do
    local oldest = redis.call('ZRANGE', KEYS[2], 0, 1)
    local id = oldest[1]
    if id == ARGV[1] then id = oldest[2] end
    if not id then return end
    forget(id)
  end
end
`;

/** ARGV[4] now, [5] expires at, [6] size, [7] bound, [8] looked after until; field, value... */
export const createScript = new RedisScript(`${MAKE_ROOM}
redis.call('HSET', KEYS[1], unpack(ARGV, 9))
redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1])
redis.call('ZADD', KEYS[4], ARGV[8], ARGV[3] .. ARGV[1])
if redis.call('HSETNX', KEYS[3], ARGV[1], ARGV[6]) == 1 then redis.call('HINCRBY', KEYS[3], 'total', ARGV[6]) end
for key = 1, 3 do redis.call('PEXPIREAT', KEYS[key], ARGV[5]) end
makeRoom(ARGV[4], tonumber(ARGV[7]))
return {0}
`);

/** The first end is the end. ARGV[4] now, [5] size, [6] bound, [7] end, [8] tokens. Returns {0} written; {1, end} there is one; {-1} gone. */
export const finishScript = new RedisScript(`${MAKE_ROOM}
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('ZREM', KEYS[4], ARGV[3] .. ARGV[1])
  return {-1}
end
local earlier = redis.call('HGET', KEYS[1], 'end')
if earlier then return {1, earlier} end
redis.call('HSET', KEYS[1], 'end', ARGV[7], 'tokens', ARGV[8])
redis.call('ZREM', KEYS[4], ARGV[3] .. ARGV[1])
redis.call('HINCRBY', KEYS[3], ARGV[1], ARGV[5])
redis.call('HINCRBY', KEYS[3], 'total', ARGV[5])
makeRoom(ARGV[4], tonumber(ARGV[6]))
return {0}
`);

/** Returns {0} removed; {-1} there was none. */
export const removeScript = new RedisScript(`${FORGET}
local existed = redis.call('EXISTS', KEYS[1])
forget(ARGV[1])
return {existed - 1}
`);

/**
 * Reads a response and those that it continues, newest first, and lets them all live as long as the one that will continue them.
 * ARGV[4] expires at, [5] how many at most. Returns {id, input or nil, end or nil} of each, without end where there are more.
 */
export const chainScript = new RedisScript(`
local answer, id, count = {}, ARGV[1], 0
while id and id ~= '' and count < tonumber(ARGV[5]) do
  local key = ARGV[2] .. id
  local fields = redis.call('HMGET', key, 'input', 'end', 'previous')
  answer[#answer + 1] = id
  answer[#answer + 1] = fields[1]
  answer[#answer + 1] = fields[2]
  if fields[1] then
    redis.call('PEXPIREAT', key, ARGV[4])
    redis.call('ZADD', KEYS[2], 'XX', ARGV[4], id)
  end
  id = fields[3]
  count = count + 1
end
for key = 2, 3 do redis.call('PEXPIREAT', KEYS[key], ARGV[4]) end
return answer
`);

/** KEYS[1] what has not ended. ARGV now, until, count. Returns the members that nobody looked after, and that the caller does from now on. */
export const adoptScript = new RedisScript(`
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, member in ipairs(members) do redis.call('ZADD', KEYS[1], ARGV[2], member) end
return members
`);
