import { AppError } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { env, parseConfig, processConfigShape } from "./config.js";

const schema = z.object({
  ...processConfigShape,
  NAME: env.text(),
  LIMIT: env.integer({ min: 1, max: 10, fallback: 5 }),
  ON: env.flag(false),
});

function faultsOf(environment: Record<string, string>): AppError {
  try {
    parseConfig(schema, environment);
  } catch (error) {
    return AppError.from(error);
  }
  throw new Error("the configuration was accepted");
}

describe("parseConfig", () => {
  it("fills in defaults and takes empty variables for absent", () => {
    const config = parseConfig(schema, { NAME: "n", LIMIT: "", MOIETY_LOG_LEVEL: undefined });
    expect(config).toMatchObject({ NAME: "n", LIMIT: 5, ON: false, MOIETY_LOG_LEVEL: "info", MOIETY_HTTP_PORT: 0 });
  });

  it.each([
    ["true", true],
    ["1", true],
    ["false", false],
    ["0", false],
  ])("reads the flag %s", (text, value) => {
    expect(parseConfig(schema, { NAME: "n", ON: text }).ON).toBe(value);
  });

  it("names every fault at once", () => {
    const error = faultsOf({ LIMIT: "11", ON: "perhaps", MOIETY_HTTP_PORT: "1.5", MOIETY_LOG_LEVEL: "loud" });
    expect(error.code).toBe("INVALID_ARGUMENT");
    expect(error.details["faults"]).toHaveLength(5);
    for (const key of ["NAME", "LIMIT", "ON", "MOIETY_HTTP_PORT", "MOIETY_LOG_LEVEL"])
      expect(error.message).toContain(`${key}: `);
  });

  it("says what was expected and never repeats a value", () => {
    const secret = "sk-very-secret";
    const error = faultsOf({ NAME: "n", LIMIT: secret, ON: secret, MOIETY_LOG_LEVEL: secret, MOIETY_HTTP_PORT: secret });
    expect(JSON.stringify([error.message, error.details])).not.toContain(secret);
    expect(error.message).toMatch(/MOIETY_LOG_LEVEL: .*"debug"/);
  });

  it.each([" ", "0x5", "5e0", "five", "Infinity", "-1", "5.5"])("does not take %j for a whole number within bounds", (text) => {
    expect(faultsOf({ NAME: "n", LIMIT: text }).message).toContain("LIMIT: ");
  });
});
