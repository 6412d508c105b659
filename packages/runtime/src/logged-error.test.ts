import { AppError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { loggedError } from "./logged-error.js";

const reply = Object.assign(new Error("OOM command not allowed"), {
  code: "OOM",
  command: { name: "evalsha", args: ["a secret prompt"] },
});

describe("an error in the log", () => {
  it.each([
    ["of a library", reply],
    ["of ours that wraps it", AppError.from(reply, "UNAVAILABLE")],
    ["that gathers others", new AggregateError([reply], "several")],
    ["that is none", { prompt: "a secret prompt" }],
  ])("%s carries nothing that hangs on it", (_name, error) => {
    expect(JSON.stringify(loggedError(error))).not.toContain("secret");
  });

  it("says what went wrong, and where", () => {
    expect(loggedError(reply)).toMatchObject({ type: "Error", message: reply.message, code: "OOM", stack: reply.stack });
    const ours = new AppError("INVALID_ARGUMENT", "wrong", { details: { field: "n" }, cause: reply });
    expect(loggedError(ours)).toMatchObject({
      message: "wrong: OOM command not allowed",
      code: "INVALID_ARGUMENT",
      retryable: false,
      details: { field: "n" },
    });
  });
});
