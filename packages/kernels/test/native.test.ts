import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
/** Compiles what has changed first. */
const TIMEOUT_MS = 300_000;

async function make(target: string): Promise<string> {
  const { stdout } = await promisify(execFile)("make", ["-C", PACKAGE, target]);
  return stdout;
}

describe("native code, by itself", () => {
  it("gives the same bits at every level of this CPU, and the bits it always gave", { timeout: TIMEOUT_MS }, async () => {
    expect(await make("self-test")).toContain("all bits are the same");
  });

  it("loses no index, wake-up or fault in its thread pools", { timeout: TIMEOUT_MS }, async () => {
    expect(await make("pool-test")).toContain("the pools do as they should");
  });
});
