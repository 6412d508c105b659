import { RedisScript } from "./redis-script.js";
import { CORRECT_TURN } from "./turns.js";

/** Shared by the scripts that write for a holder: returns early for a record that is gone, finished, or another's. */
const CHECK_HOLDER = `
local state = redis.call('HMGET', KEYS[1], 'fence', 'finish', 'expiresAt', 'finishFence', 'feed', 'watched')
if not state[1] then return {-3} end
local stored, mine = tonumber(state[1]), tonumber(ARGV[1])
if stored > mine then return {-1} end
`;

/** A Redis that lost its tail may have forgotten the newest claim: the newer fence is right. */
const KEEP_FENCE = `
if stored < mine then redis.call('HSET', KEYS[1], 'fence', ARGV[1]) end
`;

/** Packs a piece of news, as news-codec.ts reads it. */
const PACK_NEWS = `
local function news(id, kind, start, body)
  return struct.pack('<B', #id) .. id .. struct.pack('<BI4I4', kind, start, #body) .. body
end
`;

/**
 * Appends to several logs, each for its holder, from index \`start\` on, skipping entries that are already there. What a gateway reads
 * goes to its feed in one message; other readers, if there are any, hear of it on the request's own channel.
 * KEYS any of the cluster. ARGV prefixes of records, logs, channels and feeds; the appends, as append-batch.ts packs them.
 * Returns two numbers for each, in their order: 0, length: appended; 1, length: the log is shorter than \`start\`; -1, 0: fenced;
 * -2, 0: closed; -3, 0: gone.
 */
export const appendScript = new RedisScript(`${PACK_NEWS}
local feeds, names, answers = {}, {}, {}
local function append(id, mine, start, entries)
  local record, log = ARGV[1] .. id, ARGV[2] .. id
  local state = redis.call('HMGET', record, 'fence', 'finish', 'expiresAt', 'feed', 'watched')
  if not state[1] then return -3, 0 end
  local stored = tonumber(state[1])
  if stored > mine then return -1, 0 end
  if state[2] then return -2, 0 end
  if stored < mine then redis.call('HSET', record, 'fence', string.format('%.0f', mine)) end
  local length, count = redis.call('LLEN', log), #entries
  if start > length then return 1, length end
  if start + count <= length then return 0, length end
  local fresh = 1 + length - start
  redis.call('RPUSH', log, unpack(entries, fresh))
  if length == 0 then redis.call('PEXPIREAT', log, state[3]) end
  local piece, feed = news(id, 0, length, table.concat(entries, '', fresh)), state[4]
  if feed then
    if not feeds[feed] then
      feeds[feed] = {}
      names[#names + 1] = feed
    end
    table.insert(feeds[feed], piece)
  end
  if state[5] or not feed then redis.call('PUBLISH', ARGV[3] .. id, piece) end
  return 0, start + count
end
local blob, at = ARGV[5], 1
while at <= #blob do
  local id, mine, start, count
  id, mine, start, count, at = struct.unpack('<Bc0dI4I2', blob, at)
  local entries = {}
  for index = 1, count do entries[index], at = struct.unpack('<I2c0', blob, at) end
  answers[#answers + 1], answers[#answers + 2] = append(id, mine, start, entries)
end
for _, feed in ipairs(names) do redis.call('PUBLISH', ARGV[4] .. feed, table.concat(feeds[feed])) end
return answers
`);

/**
 * Closes a log: stores the finish, tells its readers, and lets record and log expire.
 * ARGV[2] now, [3] ttl, [4] prefix of channels, [5] prefix of feeds, [6] id; \`finish\`, \`fence\`, \`length\`, \`feed\`, \`watched\`,
 * and \`served\` tokens, \`turnsPrefix\`.
 */
const CLOSE_LOG = `${PACK_NEWS}${CORRECT_TURN}
correctTurn(turnsPrefix, KEYS[1], served)
redis.call('HSET', KEYS[1], 'finish', finish, 'finishFence', fence, 'finishLength', length, 'holder', '')
local expires = string.format('%.0f', tonumber(ARGV[2]) + tonumber(ARGV[3]))
redis.call('PEXPIREAT', KEYS[1], expires)
redis.call('PEXPIREAT', KEYS[2], expires)
local piece = news(ARGV[6], 1, length, finish)
if feed then redis.call('PUBLISH', ARGV[5] .. feed, piece) end
if watched or not feed then redis.call('PUBLISH', ARGV[4] .. ARGV[6], piece) end
`;

/**
 * Writes the end for its holder, once; repeated by the same holder it is still a success.
 * KEYS record, log. ARGV fence, now, ttl, prefixes of channels and of feeds, id, finish, length, prefix of turns.
 * Returns {0} written; {1, length} the log is not yet \`length\` long; {-1} fenced; {-2} closed; {-3} gone.
 */
export const finishScript = new RedisScript(`${CHECK_HOLDER}
if state[2] then
  if state[4] == ARGV[1] then return {0} end
  return {-2}
end
${KEEP_FENCE}
local length, fence, finish, feed, watched = redis.call('LLEN', KEYS[2]), ARGV[1], ARGV[7], state[5], state[6]
if length < tonumber(ARGV[8]) then return {1, length} end
local counts, turnsPrefix = cjson.decode(finish), ARGV[9]
local served = (counts.promptTokens or 0) - (counts.cachedTokens or 0) + (counts.outputTokens or 0)
${CLOSE_LOG}
return {0}
`);

/**
 * Ends a request whoever holds it, and tells the holder.
 * KEYS record, log. ARGV unused, now, ttl, prefixes of channels and of feeds, id, prefixes of the holders' channels
 * and of turns.
 * Returns {0, holder}; {-2} finished; {-3} gone.
 */
export const cancelScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'fence', 'finish', 'holder', 'promptCount', 'feed', 'watched')
if not state[1] then return {-3} end
if state[2] then return {-2} end
local length, fence, feed, watched = redis.call('LLEN', KEYS[2]), 'cancel', state[5], state[6]
local served, turnsPrefix = length > 0 and length + tonumber(state[4]) or 0, ARGV[8]
local finish = '{"reason":"cancelled","promptTokens":' .. state[4] .. ',"cachedTokens":0,"outputTokens":' .. length
  .. ',"queueMs":0,"prefillMs":0,"decodeMs":0}'
${CLOSE_LOG}
if state[3] ~= '' then redis.call('PUBLISH', ARGV[7] .. state[3], ARGV[6]) end
return {0, state[3]}
`);

/**
 * Reads a log. With \`watch\` it is written down that somebody listens on the request's own channel.
 * KEYS record, log. ARGV from, count, watch (1 or 0).
 * Returns {-1} no such record; {length, finish or nil, [entries], feed or nil}.
 */
export const readScript = new RedisScript(`
local state = redis.call('HMGET', KEYS[1], 'fence', 'finish', 'feed', 'watched')
if not state[1] then return {-1} end
if ARGV[3] == '1' and not state[4] then redis.call('HSET', KEYS[1], 'watched', '1') end
local from = tonumber(ARGV[1])
local entries = redis.call('LRANGE', KEYS[2], from, from + tonumber(ARGV[2]) - 1)
return {redis.call('LLEN', KEYS[2]), state[2], entries, state[3]}
`);

/** Stores the prompt's log-probabilities. KEYS record, log. ARGV fence, entries. Answers as {@link finishScript}. */
export const promptScript = new RedisScript(`${CHECK_HOLDER}
if state[2] then return {-2} end
redis.call('HSET', KEYS[1], 'promptLogprobs', ARGV[2])
return {0, 0}
`);
