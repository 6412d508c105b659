import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ChoiceDelta } from "../generation/choice-assembler.js";
import { ChatChunks, type ChatShape } from "./chat-response.js";
import { CompletionChunks, type CompletionShape } from "./completion-response.js";
import { TokenNames } from "./logprobs.js";

const envelope = { id: 'id-"1"', createdAtS: 7, model: 'a "model"\n' };
const named = { id: envelope.id, created: envelope.createdAtS, model: envelope.model };
const names = new TokenNames(undefined);
// With lone surrogates, quotes and control characters.
const text = fc.string({ unit: "binary", maxLength: 12 });
const deltas = fc.record({
  content: text,
  reasoning: text,
  calls: fc.constant([]),
  tokens: fc.constant([]),
  tokenIds: fc.array(fc.nat(200_000), { maxLength: 3 }),
}) satisfies fc.Arbitrary<ChoiceDelta>;

describe("the JSON of a chunk with text alone", () => {
  it("is what JSON.stringify makes of a chat's chunk", () => {
    fc.assert(
      fc.property(deltas, fc.nat(3), fc.boolean(), fc.boolean(), fc.boolean(), (delta, index, usage, reasons, ids) => {
        const shape: ChatShape = { ...envelope, names, topLogprobs: undefined, includeReasoning: reasons, returnTokenIds: ids };
        const says = delta.content !== "" || (reasons && delta.reasoning !== "") || (ids && delta.tokenIds.length > 0);
        const choice = {
          index,
          delta: {
            ...(delta.content === "" ? {} : { content: delta.content }),
            ...(reasons && delta.reasoning !== "" ? { reasoning: delta.reasoning, reasoning_content: delta.reasoning } : {}),
          },
          logprobs: null,
          finish_reason: null,
          ...(ids ? { token_ids: delta.tokenIds } : {}),
        };
        const { id, created, model } = named;
        const chunk = {
          id,
          object: "chat.completion.chunk",
          created,
          model,
          choices: [choice],
          ...(usage ? { usage: null } : {}),
        };
        expect(new ChatChunks(shape, usage).chunks({ kind: "delta", index, delta })).toEqual(says ? [JSON.stringify(chunk)] : []);
      }),
    );
  });

  it("is what JSON.stringify makes of a completion's chunk, but for the first, which is an object", async () => {
    await fc.assert(
      fc.asyncProperty(deltas, fc.nat(3), fc.boolean(), fc.boolean(), async (delta, index, usage, ids) => {
        const shape: CompletionShape = {
          ...envelope,
          names,
          topLogprobs: undefined,
          returnTokenIds: ids,
          echo: async () => undefined,
          promptTokens: () => Int32Array.of(1, 2),
        };
        const { id, created, model } = named;
        const chunk = (part: ChoiceDelta, rest: object) => ({
          ...{ id, object: "text_completion", created, model },
          choices: [
            {
              ...{ index, text: part.content, logprobs: null, finish_reason: null, stop_reason: null },
              ...(ids ? { token_ids: part.tokenIds } : {}),
              ...rest,
            },
          ],
          ...(usage ? { usage: null } : {}),
        });
        const chunks = new CompletionChunks(shape, usage);
        const opening = { ...delta, content: "begins" };
        const first = chunk(opening, ids ? { prompt_token_ids: [1, 2] } : {});
        const [begun] = await chunks.chunks({ kind: "delta", index, delta: opening });
        expect(JSON.stringify(begun)).toBe(JSON.stringify(first));
        const says = delta.content !== "" || (ids && delta.tokenIds.length > 0);
        expect(await chunks.chunks({ kind: "delta", index, delta })).toEqual(says ? [JSON.stringify(chunk(delta, {}))] : []);
      }),
    );
  });
});
