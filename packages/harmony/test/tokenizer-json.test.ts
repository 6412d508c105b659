import { Tokenizer } from "tokenizers";
import { beforeAll, describe, expect, it } from "vitest";
import { encodeSegments, type Segment } from "../src/index.js";
import { sha256Of } from "./recorded.js";
import { readConversations, renderRecorded } from "./recorded-conversations.js";
import { makeTokenizerJson } from "./tokenizer-json.js";

describe("a checkpoint's tokenizer.json", () => {
  let tokenizer: Tokenizer;
  let specialIds: ReadonlyMap<string, number>;
  beforeAll(() => {
    const { added_tokens, ...rest } = makeTokenizerJson();
    specialIds = new Map(added_tokens.map(({ content, id }) => [content, id]));
    // Without its special tokens, so that no text becomes one.
    tokenizer = Tokenizer.fromString(JSON.stringify({ ...rest, added_tokens: [] }));
  }, 600_000);

  async function encode(segments: readonly Segment[]): Promise<number[]> {
    const ids = new Map<string, readonly number[]>();
    for (const segment of segments) {
      if (!("text" in segment)) continue;
      ids.set(segment.text, (await tokenizer.encode(segment.text, null, { addSpecialTokens: false })).getIds());
    }
    return encodeSegments(segments, {
      encodeText: (text) => ids.get(text) ?? [],
      specialTokenId: (token) => specialIds.get(token),
    });
  }

  it("is enough to give the ids that openai-harmony gives", { timeout: 600_000 }, async () => {
    const cases = readConversations().filter(({ rendered }) => rendered !== undefined);
    expect(cases).toHaveLength(150);
    for (const recorded of cases) expect(sha256Of(await encode(renderRecorded(recorded)))).toBe(recorded.tokens.sha256);
  });
});
