import { setTimeout as sleep } from "node:timers/promises";

export interface WaitOptions {
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
  /** Added to the error. */
  readonly describe?: () => string;
  /** Gives up early when it returns true: waiting has no sense any more. */
  readonly hopeless?: () => boolean;
}

/** Polls until `probe` gives a value other than false or undefined. @throws Error that says what was waited for. */
export async function waitUntil<T>(
  what: string,
  probe: () => T | false | undefined | Promise<T | false | undefined>,
  options: WaitOptions = {},
): Promise<T> {
  const { timeoutMs = 10_000, intervalMs = 20 } = options;
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== false && value !== undefined) return value;
    const hopeless = options.hopeless?.() ?? false;
    if (hopeless || performance.now() >= endMs) {
      const details = options.describe === undefined ? "" : `\n${options.describe()}`;
      throw new Error(`${hopeless ? "gave up waiting" : `waited ${timeoutMs} ms in vain`}: ${what}${details}`);
    }
    await sleep(intervalMs);
  }
}
