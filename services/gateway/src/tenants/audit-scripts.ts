import { RedisScript } from "@moiety/queue";

/** Cuts the log off: whole nodes of the stream, so that up to a hundred entries more stay. Gives what went for want of room, and for its age. */
export const TRIM_AUDIT = `
local function trimAudit(log, most, oldest)
  return redis.call('XTRIM', log, 'MAXLEN', '~', most), redis.call('XTRIM', log, 'MINID', '~', oldest)
end
`;

/**
 * Writes entries, once, however often it is repeated. KEYS audit, this batch. ARGV how long to remember the batch, most entries, ms of
 * the oldest; for each entry: number of fields and values, field, value...
 * Returns {written, cut for want of room, cut for their age}.
 */
export const appendAuditScript = new RedisScript(`${TRIM_AUDIT}
if not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then return {0, 0, 0} end
local at, written = 4, 0
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, at + 1, last))
  at, written = last + 1, written + 1
end
return {written, trimAudit(KEYS[1], ARGV[2], ARGV[3])}
`);
