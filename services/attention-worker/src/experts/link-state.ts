import { backoffMs } from "@moiety/runtime";

export type LinkHalf = "results" | "dispatches";

/**
 * | state   | meaning                                          | leaves when                                              |
 * |---------|--------------------------------------------------|----------------------------------------------------------|
 * | opening | subscribed; waits for both halves                | both halves are open; one fails; the opening takes long  |
 * | up      | calls may be sent                                | a half fails                                             |
 * | waiting | nothing is open; the worker gets time to recover | the back-off ends                                        |
 * | closed  | the link was let go                              | never                                                    |
 *
 * `close` leads to closed from everywhere. Each opening has a link id of its own; events of an earlier one change nothing.
 */
export type LinkState =
  | { readonly kind: "opening"; readonly linkId: string; readonly attempt: number; readonly open: LinkHalf | undefined }
  | { readonly kind: "up"; readonly linkId: string }
  | { readonly kind: "waiting"; readonly attempt: number; readonly delayMs: number; readonly reason: string }
  | { readonly kind: "closed" };

export type LinkEvent =
  | { readonly kind: "half-open"; readonly linkId: string; readonly half: LinkHalf }
  /** `random`: 0 to 1, for jitter. */
  | { readonly kind: "failed"; readonly linkId: string; readonly reason: string; readonly random: number }
  /** The back-off is over; the next opening gets this id. */
  | { readonly kind: "due"; readonly linkId: string }
  | { readonly kind: "close" };

const BACKOFF = { firstMs: 50, maxMs: 3_000 };

/** Pure: what a link becomes. Returns the same object when the event changes nothing. */
export function transition(state: LinkState, event: LinkEvent): LinkState {
  if (state.kind === "closed" || event.kind === "close") return state.kind === "closed" ? state : { kind: "closed" };
  if (event.kind === "due") {
    return state.kind === "waiting" ? { kind: "opening", linkId: event.linkId, attempt: state.attempt, open: undefined } : state;
  }
  if (state.kind === "waiting" || event.linkId !== state.linkId) return state;
  if (event.kind === "failed") {
    const attempt = state.kind === "opening" ? state.attempt : 0;
    const delayMs = backoffMs(attempt, { ...BACKOFF, random: () => event.random });
    return { kind: "waiting", attempt: attempt + 1, delayMs, reason: event.reason };
  }
  if (state.kind === "up" || state.open === event.half) return state;
  return state.open === undefined ? { ...state, open: event.half } : { kind: "up", linkId: state.linkId };
}
