import type { Server } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "@moiety/core";

/** After the last answer on a connection that its client may keep: for the request that may be on its way already. */
const LINGER_MS = 500;

export interface DrainOptions {
  readonly clock: Clock;
  readonly server: Server;
  /** How long everybody is still served. */
  readonly lameDuckMs: number;
}

/**
 * Requests that are being answered, and how a gateway takes its leave. First everybody is served, but each answer is the last on its
 * connection. Then who connects anew is refused, while those who are connected are served once more: a client that
 * asks on a connection it was promised would lose its request.
 */
export class Traffic {
  count = 0;
  #state: "serving" | "leaving" | "draining" = "serving";
  readonly #late = new WeakSet<Socket>();
  #whenIdle: (() => void) | undefined;
  #clock: Clock | undefined;
  #lastLeftMs = Number.NEGATIVE_INFINITY;

  /** Answers are to end their connections. */
  get isLeaving(): boolean {
    return this.#state !== "serving";
  }

  /** Whether a request on this connection is to be refused. */
  refuses(socket: Socket): boolean {
    return this.#state === "draining" && this.#late.has(socket);
  }

  leave(): void {
    this.count -= 1;
    this.#lastLeftMs = this.#clock?.monotonicMs() ?? this.#lastLeftMs;
    if (this.count === 0) this.#whenIdle?.();
  }

  /** Resolves when nothing is left to answer. */
  async drain({ clock, server, lameDuckMs }: DrainOptions): Promise<void> {
    this.#clock = clock;
    this.#state = "leaving";
    if (lameDuckMs > 0) await clock.sleep(lameDuckMs);
    this.#state = "draining";
    server.on("connection", (socket: Socket) => this.#late.add(socket));
    server.closeIdleConnections();
    const lingerMs = Math.min(LINGER_MS, lameDuckMs);
    for (;;) {
      if (this.count > 0)
        await new Promise<void>((resolve) => {
          this.#whenIdle = resolve;
        });
      const restMs = this.#lastLeftMs + lingerMs - clock.monotonicMs();
      if (this.count === 0 && restMs <= 0) return;
      if (restMs > 0) await clock.sleep(restMs);
    }
  }
}
