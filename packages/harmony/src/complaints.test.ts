import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CHANNELS } from "./message.js";
import { HarmonyParser, parseMessages } from "./parser.js";
import { SPECIAL_TOKENS } from "./special-tokens.js";
import { calledTool, type HarmonyEvent, type ParserInput } from "./transition.js";

/** What users of other servers complained of, and does not happen here. `docs/complaints.md` says where each comes from. */

const special = (name: string): ParserInput => ({ kind: "special", name });
const text = (written: string): ParserInput => ({ kind: "text", text: written });

const HEADER_MARKUP = SPECIAL_TOKENS.filter((name) => !["<|message|>", "<|end|>", "<|return|>", "<|call|>"].includes(name));
const word = fc.oneof(
  fc.constantFrom(...CHANNELS, "assistant", "user", " to=functions.f", "to=", " code", "json", " ", "\n", "🙂", "thoughts"),
  fc.string({ unit: "grapheme", maxLength: 12 }),
);
/** Whatever a model may write where a header is due. */
const header = fc.array(fc.oneof(fc.constantFrom(...HEADER_MARKUP).map(special), word.map(text)), { maxLength: 16 });

describe("the parser", () => {
  it("throws at no header, however malformed, and loses nothing of the message that follows it", () => {
    fc.assert(
      fc.property(header, fc.string({ unit: "grapheme", minLength: 1 }), (malformed, content) => {
        const messages = parseMessages([...malformed, special("<|message|>"), text(content), special("<|return|>")]);
        expect(messages.at(-1)?.content.endsWith(content)).toBe(true);
        expect(messages.at(-1)?.end).toBe("return");
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([...CHANNELS, "thoughts"])("does not misroute a call on the channel %s", (channel) => {
    for (const before of [[text(`${channel} to=functions.f`)], [text(channel), text(" to="), text("functions.f")]]) {
      const parser = new HarmonyParser();
      const inputs = [special("<|channel|>"), ...before, special("<|message|>"), text("{}"), special("<|call|>")];
      const events: HarmonyEvent[] = inputs.flatMap((input) => parser.push(input));
      const start = events.find((event) => event.type === "message-start");
      expect(start && calledTool(start.header)).toBe("functions.f");
      expect(events.filter((event) => "text" in event)).toEqual([{ type: "tool-call", recipient: "functions.f", text: "{}" }]);
    }
  });
});
