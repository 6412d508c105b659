import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { z } from "zod";
import { chatRequestSchema } from "../openai/chat-request.js";
import { completionRequestSchema } from "../openai/completion-request.js";
import { sharedFields } from "../responses/response-chat.js";
import { responseRequestSchema } from "../responses/response-request.js";
import { REQUESTS } from "./schemas.js";

const page = (name: string) => readFileSync(new URL(`../../../../docs/${name}.md`, import.meta.url), "utf8");

/** The names in backticks of a text, and the fields within them: `a.b` names both. */
function namesIn(text: string): ReadonlySet<string> {
  const quoted = [...text.matchAll(/`([^`\n]+)`/g)].map(([, name = ""]) => name);
  return new Set(quoted.flatMap((name) => [name, ...name.split(/[.:[\]]+/)]));
}

/** Those that are always refused as well. */
const fieldsOf = (schema: z.ZodType): readonly string[] => Object.keys((schema as z.ZodObject).shape);

/** The part of a page under a heading. */
function section(text: string, heading: string): string {
  const begin = text.indexOf(`\n${heading}\n`);
  if (begin < 0) throw new Error(`there is no heading ${heading}`);
  const rest = text.slice(begin + heading.length + 2);
  const end = rest.search(/^#/m);
  return end < 0 ? rest : rest.slice(0, end);
}

const api = page("api");
const both = section(api, "### Of both endpoints");
const chat = section(api, "### Of `/v1/chat/completions`");
const completions = section(api, "### Of `/v1/completions`");
const tokenize = section(api, "### Of `/tokenize` and `/detokenize`");

describe("the documentation", () => {
  it.each<[string, readonly string[], string]>([
    ["chats", fieldsOf(chatRequestSchema), both + chat],
    ["completions", fieldsOf(completionRequestSchema), both + completions],
    ["responses", fieldsOf(responseRequestSchema), section(page("responses"), "## Fields")],
    ["responses, of what they share with chats", Object.keys(sharedFields), both],
    ["batches", fieldsOf(REQUESTS.BatchRequest), page("batches")],
    ["keys", fieldsOf(REQUESTS.KeyRequest), page("keys")],
    ["/tokenize", [...fieldsOf(REQUESTS.TokenizeTextRequest), ...fieldsOf(REQUESTS.TokenizeChatRequest)], tokenize + both + chat],
    ["/detokenize", fieldsOf(REQUESTS.DetokenizeRequest), tokenize + both],
  ])("names every field of %s", (_what, fields, text) => {
    const names = namesIn(text);
    expect(fields.filter((field) => !names.has(field))).toEqual([]);
  });

  it("names no field in its tables that is not read", () => {
    const known = new Set([...fieldsOf(chatRequestSchema), ...fieldsOf(completionRequestSchema)]);
    const rows = [both, chat, completions].flatMap((text) => text.match(/^\| `.*$/gm) ?? []);
    const named = rows.flatMap((row) => [...(row.split(" | ")[0] ?? "").matchAll(/`([a-z_]+)/g)].map(([, name = ""]) => name));
    expect(named.length).toBeGreaterThan(40);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
  });
});
