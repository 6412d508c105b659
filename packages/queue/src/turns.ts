import { RedisScript } from "./redis-script.js";

/**
 * Whose turn it is among requests of one priority: start-time fair queueing (Goyal, Vin, Cheng, 1996), by tokens. Each tenant has a clock that
 * goes on by the tokens of each of its requests; a request's turn is what its tenant's clock says, or what the queue's own says if that is
 * later; and the queue's own is the latest turn of those that were taken. So tenants who wait are served the same number of tokens,
 * however many requests they bring and however long those are, and nobody saves turns up or owes any from a time when nobody waited.
 *
 * BullMQ scores a waiting job by its priority times 2^32, plus a counter. Turns take the counter's place, and the nine bits above it: each
 * priority of ours is 512 of BullMQ's. A job that BullMQ itself puts back gets the score of its priority alone, and is first among equals.
 */
const BULL_PRIORITIES = 512;
const TURNS = BULL_PRIORITIES * 2 ** 32;

/** BullMQ's own are below 2^21. */
export const MAX_PRIORITY = 2 ** 21 / BULL_PRIORITIES - 2;

/** What BullMQ is told. Never 0, which is no priority to it. */
export const bullPriority = (priority: number): number => (priority + 1) * BULL_PRIORITIES;

/** The first score of a priority's jobs; the next priority's is the end of them. */
export const firstScore = (priority: number): number => (priority + 1) * TURNS;

/** Gives out a turn. \`turns\` are a priority's clocks by tenant, the queue's own under a name that no tenant has. */
export const TAKE_TURN = `
local function takeTurn(turns, tenant, cost, waiting)
  if waiting == 0 then redis.call('DEL', turns) end
  local own, tenants = redis.call('ZSCORE', turns, '='), redis.call('ZSCORE', turns, tenant)
  local turn = math.min(math.max(tonumber(own or 0), tonumber(tenants or 0)), ${TURNS - 1})
  redis.call('ZADD', turns, string.format('%.0f', turn + cost), tenant)
  redis.call('PEXPIRE', turns, 86400000)
  return string.format('%.0f', turn)
end
`;

/** A request was taken: the queue's clock goes on, and tenants whose clocks it has passed need none. */
export const PASS_TURN = `
local function passTurn(turns, turn)
  local own = redis.call('ZSCORE', turns, '=')
  if tonumber(own or -1) >= tonumber(turn) then return end
  redis.call('ZADD', turns, turn, '=')
  redis.call('ZREMRANGEBYSCORE', turns, '-inf', '(' .. turn)
  redis.call('PEXPIRE', turns, 86400000)
end
`;

/** A request took more or fewer tokens than its tenant's clock went on by. */
export const CORRECT_TURN = `
local function correctTurn(prefix, record, served)
  local kept = redis.call('HMGET', record, 'cost', 'tenant', 'priority')
  if not kept[1] then return end
  local turns = prefix .. kept[3]
  if redis.call('ZSCORE', turns, kept[2]) then redis.call('ZINCRBY', turns, served - tonumber(kept[1]), kept[2]) end
end
`;

/**
 * A job is in the queue: it is no longer on its way, and gets its turn. KEYS admitting, prioritized, record. ARGV job, first score of
 * its priority.
 */
export const queuedScript = new RedisScript(`
redis.call('ZREM', KEYS[1], ARGV[1])
local turn = redis.call('HGET', KEYS[3], 'turn')
if turn then redis.call('ZADD', KEYS[2], 'XX', string.format('%.0f', tonumber(ARGV[2]) + tonumber(turn)), ARGV[1]) end
return 1
`);

/**
 * Jobs waiting, by tenant: of those that come first, at most \`bound\`. KEYS prioritized. ARGV prefix of records, bound.
 * Returns tenant, count, ...
 */
export const waitingScript = new RedisScript(`
local counts, answer = {}, {}
for _, job in ipairs(redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)) do
  local tenant = redis.call('HGET', ARGV[1] .. (string.gsub(string.sub(job, 3), '/', ':')), 'tenant')
  if tenant then counts[tenant] = (counts[tenant] or 0) + 1 end
end
for tenant, count in pairs(counts) do
  answer[#answer + 1] = tenant
  answer[#answer + 1] = count
end
return answer
`);
