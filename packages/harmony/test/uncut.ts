import type { HarmonyEvent, ParserInput } from "../src/transition.js";

/** Neighbouring texts made one: what arrives when nothing was cut. */
export function whole(inputs: readonly ParserInput[]): ParserInput[] {
  const out: ParserInput[] = [];
  for (const input of inputs) {
    const last = out.at(-1);
    if (last?.kind === "text" && input.kind === "text") out[out.length - 1] = { kind: "text", text: last.text + input.text };
    else out.push(input);
  }
  return out;
}

/** Events with neighbouring deltas of one message made one. */
export function joined(events: readonly HarmonyEvent[]): HarmonyEvent[] {
  const out: HarmonyEvent[] = [];
  for (const event of events) {
    const last = out.at(-1);
    if (last !== undefined && "text" in last && "text" in event) out[out.length - 1] = { ...last, text: last.text + event.text };
    else out.push(event);
  }
  return out;
}
