import { AppError } from "@moiety/core";
import { Redis } from "ioredis";

/** What both sides of the queue need to know. */
export interface QueueConnectionOptions {
  /** `redis://[user:password@]host:port[/database]`, or `rediss://` for TLS. */
  readonly redisUrl: string;
  /** Keeps clusters apart that share a Redis. Default `moiety`. */
  readonly prefix?: string;
  /** Told about faults that the queue outlives: lost connections, unreadable records. Never throws. */
  readonly onError?: (error: AppError) => void;
}

/** A client of Redis. */
export type RedisConnection = Redis;

/**
 * A connection that never gives up: while Redis is away commands wait, and those without an answer are sent again when it is back.
 * So every command on it must bear repeating.
 */
export function connectRedis(options: QueueConnectionOptions, name: string): Redis {
  const redis = new Redis(options.redisUrl, {
    connectionName: `moiety-${name}`,
    maxRetriesPerRequest: null,
    connectTimeout: 2_000,
    keepAlive: 5_000,
    retryStrategy: (attempt) => Math.min(25 * 2 ** Math.min(attempt, 4), 250),
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
  });
  redis.on("error", (error: Error) => {
    options.onError?.(new AppError("UNAVAILABLE", `redis connection: ${error.message || error.name}`, { cause: error }));
  });
  return redis;
}

/** Quits politely when Redis answers within half a second, and hangs up otherwise. */
export async function disconnectRedis(redis: Redis): Promise<void> {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), 500);
  try {
    if (redis.status === "ready") {
      await Promise.race([
        redis.quit(),
        new Promise((resolve) => patience.signal.addEventListener("abort", resolve, { once: true })),
      ]);
    }
  } catch {
    // A connection that is already gone cannot be closed politely.
  } finally {
    clearTimeout(timer);
    redis.disconnect();
  }
}
