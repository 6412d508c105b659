import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { systemClock } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { openServedModel } from "../model/served-model.js";
import { chatRequestSchema } from "../openai/chat-request.js";
import { chatPrompt } from "./chat-prompt.js";

const pathOf = (path: string) => fileURLToPath(new URL(path, import.meta.url));

interface Recorded {
  /** `yyyy-mm-dd`, of the prompt. */
  readonly date: string;
  readonly request: object;
  readonly tokens: readonly number[];
}

/** Prompts as the tiny model was taught them: tools/tiny-model/prompts_fixture.py. */
const recorded = JSON.parse(readFileSync(pathOf("../../test/fixtures/tiny-model-prompts.json"), "utf8")) as readonly Recorded[];

describe("a chat's prompt", () => {
  it("is, token for token, what the tiny model was taught", async () => {
    const model = await openServedModel(pathOf("../../../../packages/cli/models/moiety-tiny"), undefined);
    expect(recorded.length).toBeGreaterThan(50);
    for (const { date, request, tokens } of recorded) {
      const body = chatRequestSchema.parse({ model: "moiety-tiny", ...request });
      const clock = { ...systemClock, nowMs: () => Date.parse(date) };
      expect([...(await chatPrompt(body, model, clock))]).toEqual(tokens);
    }
  });
});
