import { createHash, randomBytes } from "node:crypto";
import { parseRequestId, type RequestId } from "@moiety/core";

/**
 * `resp_` and 128 random bits. Items are named after their response and their place in it, so that whoever holds an item's id can find it:
 * `msg_<the response's digits><place>`, five digits of place, those of the input from 80000 on.
 */
export type ResponseId = RequestId;

const RESPONSE_ID = /^resp_[0-9a-f]{32}$/;
const ITEM_ID = /^(?:msg|rs|fc|fco)_([0-9a-f]{32})([0-9a-f]{5})$/;
const FIRST_INPUT = 0x80000;

export const newResponseId = (): ResponseId => parseRequestId(`resp_${randomBytes(16).toString("hex")}`);

/** Undefined for what cannot be the id of a response of ours. */
export const asResponseId = (text: string): ResponseId | undefined => (RESPONSE_ID.test(text) ? parseRequestId(text) : undefined);

const PREFIXES = { message: "msg", reasoning: "rs", function_call: "fc", function_call_output: "fco" } as const;
export type ItemType = keyof typeof PREFIXES;

/** The id of an item: the `index`-th of a response's output, or of its input. */
export function itemId(
  response: string,
  type: ItemType,
  place: { readonly of: "input" | "output"; readonly index: number },
): string {
  const number = place.index + (place.of === "input" ? FIRST_INPUT : 0);
  return `${PREFIXES[type]}_${response.slice("resp_".length)}${number.toString(16).padStart(5, "0")}`;
}

/** Which response an item belongs to. Undefined for an id that is not ours. */
export function responseOfItem(id: string): ResponseId | undefined {
  const digits = ITEM_ID.exec(id)?.[1];
  return digits === undefined ? undefined : parseRequestId(`resp_${digits}`);
}

/** The same whenever the response is read: 96 bits of SHA-256 over its id and the call's place among its calls. */
export function callIdOf(response: string, call: number): string {
  return `call_${createHash("sha256").update(`${response}/0/${call}`).digest("hex").slice(0, 24)}`;
}
