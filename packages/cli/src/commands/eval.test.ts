import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { casesFor, casesOf, type EvalFlags, evalCommand } from "./eval.js";

const folder = mkdtempSync(join(tmpdir(), "moiety-eval-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** What the command makes of its arguments. */
async function parse(...argv: string[]): Promise<EvalFlags> {
  let seen: EvalFlags | undefined;
  const command = evalCommand(async (_, flags) => {
    seen = flags;
  });
  const silent = { writeErr: () => undefined, writeOut: () => undefined };
  await command
    .exitOverride()
    .configureOutput(silent)
    .parseAsync(["./A", "--out", "x", ...argv], { from: "user" });
  if (seen === undefined) throw new Error("the action was not called");
  return seen;
}

const parseCases = async (...argv: string[]) => casesOf("./A", await parse(...argv));

describe("cases of a file", () => {
  const forA = { name: "A_007", tokens: [1], checkpoint: "A" };
  const forB = { name: "B_007", tokens: [1], checkpoint: "B" };
  const forAny = { name: "x", tokens: [1] };

  it("are those of the checkpoint, and those that name none", () => {
    expect(casesFor([forA, forB, forAny], "B")).toEqual([forB, forAny]);
  });

  it("are named by their checkpoints when none is left", () => {
    expect(() => casesFor([forA, forB], "A-sharded")).toThrow(
      "no case is for the checkpoint A-sharded; choose one with --for: A, B",
    );
  });

  it("are read when --cases names it", async () => {
    expect(await parseCases("--cases", file("cases.json", JSON.stringify([forA, forB])))).toEqual([forA]);
  });
});

describe("--tokens", () => {
  it("is a prompt by itself", async () => {
    expect(await parseCases("--tokens", "1,2,3")).toEqual([{ name: "prompt", tokens: [1, 2, 3] }]);
  });

  it("takes a name, a continuation and tokens to probe", async () => {
    const flags = ["--tokens", "1, 2", "--name", "n", "--forced", "3,4", "--probe-ids", "5"];
    expect(await parseCases(...flags)).toEqual([{ name: "n", tokens: [1, 2], forced: [3, 4], probeIds: [5] }]);
  });

  it("goes on where it is repeated, and reads files", async () => {
    const json = file("ids.json", "[\n 4,\n 5\n]\n");
    const text = file("ids.txt", "6 7\n8,9\n");
    expect(await parseCases("--tokens", "1,2", "--tokens", "3", "--tokens", json, "--tokens", text)).toMatchObject([
      { tokens: [1, 2, 3, 4, 5, 6, 7, 8, 9] },
    ]);
  });

  it.each([
    [["--tokens", "1,-2"], "--tokens: 1,-2 is neither token ids separated by commas nor a file of them"],
    [["--tokens", "1", "--forced", "/nowhere"], "--forced: /nowhere is neither"],
    [["--tokens", "99999999999999999999"], "--tokens: 100000000000000000000 is no token id"],
    [["--tokens", "1", "--name", "a/b"], '--name: expected 1 to 100 characters of A-Z a-z 0-9 . _ -, found "a/b"'],
    [[], "what to run is missing: give --tokens or --cases"],
    [["--cases", "x", "--probe-ids", "1"], "--probe-ids goes with --tokens"],
    [["--cases", "x", "--tokens", "1"], "'--tokens <ids>' cannot be used with option '--cases <file>'"],
    [["--tokens", "1", "--router", "h:1", "--expert-workers", "2"], "'--router <address>' cannot be used with"],
    [["--tokens", "1", "--expert-workers", "0"], "Expected an integer from 1 to 256"],
  ])("refuses %j", async (argv, message) => {
    await expect(parseCases(...argv)).rejects.toThrow(message);
  });

  it("refuses a file that holds something else", async () => {
    await expect(parseCases("--tokens", file("words.txt", "1, two, 3"))).rejects.toThrow("holds something else than token ids");
  });
});
