/** Ends of requests that are remembered. */
const REMEMBERED = 64;
/** Fewer say nothing about a rate. */
const LEAST = 8;
const MAX_WAIT_MS = 60_000;

/**
 * Says when those who were refused for want of room should try again: as if they stood in line, and the line moved as fast as requests
 * have lately come to their ends. Of one gateway, whose own requests' ends are its share of the room that comes free.
 */
export class DrainEstimate {
  #endsMs: number[] = [];
  /** When the last one in line would have its turn. */
  #lineEndsMs = 0;

  /** A request came to its end. */
  ended(nowMs: number): void {
    this.#endsMs.push(nowMs);
    if (this.#endsMs.length > REMEMBERED) this.#endsMs.shift();
  }

  /** Puts one more in line. Absent: not enough is known. */
  waitMs(nowMs: number): number | undefined {
    const [firstMs] = this.#endsMs;
    if (firstMs === undefined || this.#endsMs.length < LEAST) return undefined;
    const msPerRequest = Math.max(1, nowMs - firstMs) / this.#endsMs.length;
    this.#lineEndsMs = Math.min(Math.max(this.#lineEndsMs, nowMs) + msPerRequest, nowMs + MAX_WAIT_MS);
    return Math.ceil(this.#lineEndsMs - nowMs);
  }
}
