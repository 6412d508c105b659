import type { AppError, Clock, WorkerId } from "@moiety/core";
import type { ModelIdentity, WorkerStatus } from "@moiety/proto";
import type { Logger } from "./logger.js";
import type { Transport } from "./transport.js";

/** Who a worker says it is; constant for the life of its process. */
export interface WorkerIntroduction {
  readonly workerId: WorkerId;
  /** Fresh at every start of the process. */
  readonly incarnation: string;
  readonly kind: "attention" | "expert";
  /** host:port or unix:path of the worker's data-plane server. */
  readonly address: string;
  readonly model: ModelIdentity;
  /** How many (layer, expert) slots the worker can hold; 0 for an attention worker. */
  readonly capacitySlots: number;
}

export interface ControlClientOptions {
  /** host:port or unix:path of the router, or several parted by commas. A host name stands for all its addresses. */
  readonly routerAddress: string;
  /** Absent: plain text. */
  readonly transport?: Transport;
  readonly worker: WorkerIntroduction;
  /** Called for every heartbeat that is really sent, so that it may hand over counts "since the last". Must not throw. */
  readonly status: () => Omit<WorkerStatus, "draining">;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** 0 to 1, for jitter. */
  readonly random?: () => number;
}

/**
 * | state      | meaning                                        | leaves when                                  |
 * |------------|------------------------------------------------|----------------------------------------------|
 * | idle       | `start` was not called                         | `start`                                      |
 * | connecting | a stream is open, Hello sent, no Welcome yet   | Welcome; the stream's end; 5 s               |
 * | joined     | heartbeats flow, placements arrive             | the stream's end                             |
 * | waiting    | the router is absent or refused us             | the back-off ends                            |
 * | closed     | `close` or `leave` finished                    | never                                        |
 */
export type ControlState =
  | { readonly kind: "idle" }
  | { readonly kind: "connecting" }
  | { readonly kind: "joined"; readonly heartbeatIntervalMs: number }
  | { readonly kind: "waiting"; readonly delayMs: number; readonly error: AppError | undefined }
  | { readonly kind: "closed" };
