import type OpenAI from "openai";
import type { APIError } from "openai";
import { expect } from "vitest";

/** The client under test, and what it talks to; there only once tests run. */
export interface Use {
  readonly client: OpenAI;
  readonly model: string;
}

export const USER_QUESTION = "What is 17 + 25?";
export const CALL_QUESTION = "What is the rainfall in Lisbon?";

export const RAINFALL = {
  name: "get_rainfall",
  description: "Get the rainfall of a city.",
  parameters: {
    type: "object",
    properties: { city: { type: "string", maxLength: 40 } },
    required: ["city"],
    additionalProperties: false,
  },
} as const;
/** For tests that leave it to the model what to call: the default model is sure of this one, whatever the effort and the order. */
export const SURE_QUESTION = "What is the air quality in Lisbon?";
export const AIR_QUALITY = { ...RAINFALL, name: "get_air_quality", description: "Get the air quality of a city." } as const;
export const POPULATION = { ...RAINFALL, name: "get_population", description: "Get the population of a city." } as const;

/** A schema that ends every answer soon, whatever the model. */
export const SUM_SCHEMA = {
  type: "object",
  properties: { result: { type: "integer", minimum: 0, maximum: 999 } },
  required: ["result"],
  additionalProperties: false,
} as const;

/** What a promise rejects with, as an error of the client's own. */
export async function faultOf<T extends APIError>(
  kind: abstract new (...given: never[]) => T,
  promise: PromiseLike<unknown>,
): Promise<T> {
  const fault = await Promise.resolve(promise).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(fault).toBeInstanceOf(kind);
  return fault as T;
}

export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of source) all.push(each);
  return all;
}

/** gpt-oss's thoughts, which OpenAI's types of chats do not have. */
export const reasoningOf = (part: object | undefined): string => (part as { reasoning?: string } | undefined)?.reasoning ?? "";

/** The one of several that there has to be. */
export function only<T>(items: readonly T[] | null | undefined): T {
  if (items?.length !== 1) throw new Error(`expected one, found ${JSON.stringify(items)}`);
  return items[0] as T;
}

/** Of a JSON object that may be any, a small model may never come to the end: what is cut has at least begun as one. */
export function expectObject(text: string, isWhole: boolean): void {
  if (isWhole) expect(JSON.parse(text)).toBeTypeOf("object");
  expect(text).toMatch(/^\s*\{/);
}
