import { createHash } from "node:crypto";
import { AppError } from "@moiety/core";
import type { Redis } from "ioredis";

type Value = string | number | Buffer;

/** A Lua script that runs atomically in Redis. Its answers come back as buffers, numbers, nulls and arrays of them. */
export class RedisScript {
  readonly #source: string;
  readonly #sha: string;

  constructor(source: string) {
    this.#source = source;
    this.#sha = createHash("sha1").update(source).digest("hex");
  }

  /** Makes Redis know the script before it is needed, so that commands that are sent behind it cannot overtake it. */
  async load(redis: Redis): Promise<void> {
    await redis.script("LOAD", this.#source);
  }

  /** `onResend` is called when Redis did not know the script, so that it runs after commands that were sent behind it. */
  async run(redis: Redis, keys: readonly string[], args: readonly Value[], onResend?: () => void): Promise<unknown> {
    const rest = [String(keys.length), ...keys, ...args];
    try {
      return await redis.callBuffer("EVALSHA", this.#sha, ...rest);
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
      onResend?.();
      return redis.callBuffer("EVAL", this.#source, ...rest);
    }
  }
}

/** Narrows a script's answer. @throws AppError INTERNAL when a script answered with something else than it is written to. */
export function asArray(answer: unknown): readonly (Buffer | number | null)[] {
  if (Array.isArray(answer)) return answer;
  throw new AppError("INTERNAL", "a script answered with something that is not a list");
}

export function asText(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString() : value === null || value === undefined ? "" : String(value);
}

export function asBuffers(values: readonly unknown[]): (Buffer | null)[] {
  return values.map((value) => (Buffer.isBuffer(value) ? value : null));
}
