import type { Redis } from "ioredis";
import { z } from "zod";
import type { QueueKeys } from "./keys.js";
import type { WorkerBeat } from "./types.js";

/** A worker is taken for gone when it has not beaten for so long. */
const BEAT_TTL_MS = 3_500;

const beatSchema = z.object({
  workerId: z.string(),
  modelFingerprint: z.string(),
  maxContextTokens: z.number(),
  running: z.number(),
  waiting: z.number(),
  kvUsage: z.number(),
  grammarEngine: z.string().exactOptional(),
}) satisfies z.ZodType<WorkerBeat>;

export async function writeBeat(redis: Redis, keys: QueueKeys, beat: WorkerBeat, nowMs: number): Promise<void> {
  await Promise.all([
    redis.set(keys.beat(beat.workerId), JSON.stringify(beat), "PX", BEAT_TTL_MS),
    redis.zadd(keys.beats, nowMs, beat.workerId),
    redis.zremrangebyscore(keys.beats, "-inf", nowMs - 60_000),
  ]);
}

export async function removeBeat(redis: Redis, keys: QueueKeys, workerId: string): Promise<void> {
  await Promise.all([redis.del(keys.beat(workerId)), redis.zrem(keys.beats, workerId)]);
}

/** Beats that have not expired; one that cannot be read is another version's, and left out. */
export async function readBeats(redis: Redis, keys: QueueKeys, nowMs: number): Promise<WorkerBeat[]> {
  const ids = await redis.zrangebyscore(keys.beats, nowMs - 60_000, "+inf");
  if (ids.length === 0) return [];
  const texts = await redis.mget(ids.map((id) => keys.beat(id)));
  return texts.flatMap((text) => {
    if (text === null) return [];
    const parsed = beatSchema.safeParse(jsonOf(text));
    return parsed.success ? [parsed.data] : [];
  });
}

/** Absent for a text that is no JSON. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
