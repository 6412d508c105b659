import { RedisScript } from "../redis-script.js";

/**
 * Notes a file that is about to be stored; if it never is, it goes when it falls due. Idempotent: a file that exists stays as it is.
 * KEYS file, files of the tenant, bytes by tenant, due. ARGV id, tenant, due at, most files, most bytes, field, value...
 * Returns {1}; {0, files, bytes} no room.
 */
export const reserveScript = new RedisScript(`
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'uploading' or state == 'ready' then return {1} end
local files = redis.call('ZCARD', KEYS[2])
local bytes = tonumber(redis.call('HGET', KEYS[3], ARGV[2]) or '0')
if files >= tonumber(ARGV[4]) or bytes >= tonumber(ARGV[5]) then return {0, files, bytes} end
redis.call('HSET', KEYS[1], 'state', 'uploading', 'tenant', ARGV[2], unpack(ARGV, 6))
redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
return {1}
`);

/**
 * Makes a stored file visible, with the bytes of whoever comes first.
 * KEYS file, files of the tenant, bytes by tenant, due. ARGV id, tenant, bytes, created at, expires at or '', most files, most bytes,
 * place, field, value... Returns {1}; {2} it is visible, with the bytes of another place; {0, files, bytes} no room; {-1} it is gone.
 */
export const commitScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'state', 'place')
if state[1] == 'ready' then
  if state[2] == ARGV[8] then return {1} end
  return {2}
end
if state[1] ~= 'uploading' then return {-1} end
local files = redis.call('ZCARD', KEYS[2])
local bytes = tonumber(redis.call('HGET', KEYS[3], ARGV[2]) or '0')
if files >= tonumber(ARGV[6]) or bytes + tonumber(ARGV[3]) > tonumber(ARGV[7]) then return {0, files, bytes} end
redis.call('HSET', KEYS[1], 'state', 'ready', 'bytes', ARGV[3], 'createdAt', ARGV[4], 'expiresAt', ARGV[5], 'uses', '0',
  'place', ARGV[8], unpack(ARGV, 9))
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
if ARGV[5] == '' then redis.call('ZREM', KEYS[4], ARGV[1]) else redis.call('ZADD', KEYS[4], ARGV[5], ARGV[1]) end
redis.call('HINCRBY', KEYS[3], ARGV[2], ARGV[3])
return {1}
`);

/**
 * Hides a file, for good; its bytes can then be removed. A file that a batch uses stays.
 * KEYS file, bytes by tenant, due. ARGV id, tenant or '' for any, now, when to ask again about one in use, prefix of the tenants' lists.
 * Returns {1} hidden; {0} in use; {-1} no such file. (Of an empty file Lua's -0 would be "-0", which is no integer to Redis.)
 */
export const hideScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'state', 'tenant', 'bytes', 'uses')
if not state[1] then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return {-1}
end
if ARGV[2] ~= '' and (state[2] ~= ARGV[2] or state[1] ~= 'ready') then return {-1} end
if state[1] == 'ready' then
  if tonumber(state[4]) > 0 then
    if ARGV[2] == '' then redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1]) end
    return {0}
  end
  redis.call('ZREM', ARGV[5] .. state[2], ARGV[1])
  redis.call('HINCRBY', KEYS[2], state[2], 0 - tonumber(state[3]))
end
redis.call('HSET', KEYS[1], 'state', 'hidden')
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
return {1}
`);

/** Forgets a hidden file, once its bytes are removed. KEYS file, due. ARGV id. */
export const forgetScript = new RedisScript(`
if redis.call('HGET', KEYS[1], 'state') ~= 'hidden' then return {0} end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return {1}
`);
