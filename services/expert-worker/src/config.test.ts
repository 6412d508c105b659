import { parseConfig } from "@moiety/runtime";
import { describe, expect, it } from "vitest";
import { expertWorkerConfigSchema } from "./config.js";

describe("the configuration", () => {
  it("needs a name and a checkpoint, and names every fault at once", () => {
    expect(() => parseConfig(expertWorkerConfigSchema, { MOIETY_THREADS: "many" })).toThrow(
      /MOIETY_WORKER_ID[\s\S]*MOIETY_MODEL[\s\S]*MOIETY_THREADS/,
    );
  });

  it("has a description for every key", () => {
    for (const [key, field] of Object.entries(expertWorkerConfigSchema.shape)) {
      expect((field as { description?: string }).description, key).toBeTruthy();
    }
  });
});
