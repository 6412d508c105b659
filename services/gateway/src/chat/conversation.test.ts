import { renderConversation } from "@moiety/harmony";
import { describe, expect, it } from "vitest";
import type { ChatMessage } from "../openai/chat-request.js";
import { toConversation } from "./conversation.js";

const call = (id: string): ChatMessage => ({
  role: "assistant",
  content: "",
  reasoning: `thoughts before ${id}`,
  tool_calls: [{ id, type: "function", function: { name: "f", arguments: "{}" } }],
});
const result = (id: string): ChatMessage => ({ role: "tool", tool_call_id: id, content: "done" });
const answer = (content: string): ChatMessage => ({ role: "assistant", content, reasoning: `thoughts before ${content}` });
const ask: ChatMessage = { role: "user", content: "Why?" };

function rendered(messages: readonly ChatMessage[]): string {
  const segments = renderConversation(toConversation(messages, { currentDate: "2025-08-05" }));
  return segments.map((segment) => ("text" in segment ? segment.text : segment.special)).join("");
}

const thoughtsIn = (text: string) => text.match(/thoughts before \w+/g) ?? [];

describe("toConversation", () => {
  it("keeps the thoughts of the current turn, around its calls, and drops those before the last answer", () => {
    const chat = [ask, answer("one"), ask, call("c1"), result("c1"), answer("two"), ask, call("c2"), result("c2"), call("c3")];
    expect(thoughtsIn(rendered([...chat, result("c3")]))).toEqual(["thoughts before c2", "thoughts before c3"]);
  });

  it("drops all thoughts once the last message is an answer or a question, and no call, result or answer", () => {
    const chat = [ask, answer("one"), ask, call("c1"), result("c1"), answer("two")];
    for (const messages of [chat, [...chat, ask]]) {
      const text = rendered(messages);
      expect(thoughtsIn(text)).toEqual([]);
      expect(text).toContain("<|channel|>final<|message|>one<|end|>");
      expect(text).toContain(" to=functions.f<|channel|>commentary <|constrain|>json<|message|>{}<|call|>");
      expect(text).toContain("functions.f to=assistant<|channel|>commentary<|message|>done<|end|>");
      expect(text).toContain("<|channel|>final<|message|>two<|end|>");
    }
  });
});
