import { describe, expect, it } from "vitest";
import { InputCheck } from "./input-line.js";
import type { FileLine } from "./read-lines.js";

const expected = { endpoint: "/v1/chat/completions", model: "tiny" };
const request = { custom_id: "a", method: "POST", url: "/v1/chat/completions", body: { messages: [] } };

function check(lines: readonly (object | string | FileLine)[], maxLines = 50) {
  const input = new InputCheck(expected, maxLines);
  for (const [index, line] of lines.entries()) {
    const text = typeof line === "string" ? line : JSON.stringify(line);
    if (!input.take(typeof line === "object" && "fault" in line ? line : { number: index + 1, text })) break;
  }
  return input.end();
}

describe("the input of a batch", () => {
  it("is counted when every line is a request", () => {
    const named = { ...request, custom_id: "b", body: { model: "tiny" } };
    expect(check([request, named, { ...request, custom_id: "c", body: { model: null }, more: 1 }])).toEqual({ total: 3 });
  });

  it.each<[string, object | string, object]>([
    ["no JSON", "{", { code: "invalid_json_line" }],
    ["a list", "[1]", { code: "invalid_json_line" }],
    ["a line that is too long", { number: 1, fault: "too-long" }, { code: "line_too_long" }],
    ["a line that is no text", { number: 1, fault: "not-utf8" }, { code: "invalid_json_line" }],
    ["no custom_id", { ...request, custom_id: undefined }, { code: "missing_required_parameter", param: "custom_id" }],
    ["an empty custom_id", { ...request, custom_id: "" }, { code: "invalid_custom_id", param: "custom_id" }],
    ["another method", { ...request, method: "GET" }, { code: "invalid_method", param: "method" }],
    ["another endpoint", { ...request, url: "/v1/completions" }, { code: "mismatched_url", param: "url" }],
    ["no body", { ...request, body: undefined }, { code: "missing_required_parameter", param: "body" }],
    ["a body that is no object", { ...request, body: [] }, { code: "invalid_body", param: "body" }],
    ["another model", { ...request, body: { model: "gpt-5" } }, { code: "model_not_found", param: "body.model" }],
  ])("is refused for %s, by line", (_, line, fault) => {
    expect(check([line])).toEqual({ faults: [expect.objectContaining({ ...fault, line: 1, message: expect.any(String) })] });
  });

  it("is refused for a custom_id that comes twice", () => {
    expect(check([request, { ...request, custom_id: "b" }, request])).toMatchObject({
      faults: [{ code: "duplicate_custom_id", line: 3, param: "custom_id" }],
    });
  });

  it("is refused when it is empty or too long", () => {
    expect(check([])).toMatchObject({ faults: [{ code: "empty_file" }] });
    const many = Array.from({ length: 4 }, (_, index) => ({ ...request, custom_id: String(index) }));
    expect(check(many, 3)).toMatchObject({ faults: [{ code: "too_many_lines", line: 4 }] });
  });

  it("names a hundred faults at most", () => {
    expect(
      check(
        Array.from({ length: 200 }, () => "{"),
        500,
      ),
    ).toMatchObject({ faults: { length: 100 } });
  });
});
