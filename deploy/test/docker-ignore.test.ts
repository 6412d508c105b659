import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { filesLetThrough } from "./docker-ignore.js";

const FILES = [
  ".env",
  "a.md",
  "README.md",
  "src/a.md",
  "src/a.ts",
  "src/deep/er/a.ts",
  "src/node_modules/x.js",
  "node_modules/y.js",
];

describe("a .dockerignore", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "moiety-dockerignore-"));
    for (const path of FILES) {
      mkdirSync(join(folder, dirname(path)), { recursive: true });
      writeFileSync(join(folder, path), "");
    }
    symlinkSync("a.md", join(folder, "link"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const ignored = (...lines: readonly string[]) => {
    const left = filesLetThrough(folder, lines.join("\n"));
    return [...FILES, "link"].filter((path) => !left.includes(path));
  };

  it("ignores nothing without a pattern", () => {
    expect(ignored("", "# *", "   ")).toEqual([]);
  });

  it("matches from the root alone, unless two asterisks stand before", () => {
    expect(ignored("a.md")).toEqual(["a.md"]);
    expect(ignored("*.md")).toEqual(["a.md", "README.md"]);
    expect(ignored("**/a.md")).toEqual(["a.md", "src/a.md"]);
    expect(ignored("/src/*.ts")).toEqual(["src/a.ts"]);
    expect(ignored("src/**/a.ts")).toEqual(["src/a.ts", "src/deep/er/a.ts"]);
    expect(ignored("?.md")).toEqual(["a.md"]);
  });

  it("ignores all that is in a folder", () => {
    expect(ignored("src/deep/")).toEqual(["src/deep/er/a.ts"]);
    expect(ignored("**/node_modules")).toEqual(["src/node_modules/x.js", "node_modules/y.js"]);
  });

  it("lets through what the last pattern excepts, and what is in such a folder", () => {
    expect(ignored("*.md", "!README.md")).toEqual(["a.md"]);
    expect(ignored("!README.md", "*.md")).toEqual(["a.md", "README.md"]);
    expect(ignored("*", "!src", "**/node_modules", "!src/deep")).toEqual([
      ".env",
      "a.md",
      "README.md",
      "src/node_modules/x.js",
      "node_modules/y.js",
      "link",
    ]);
    expect(ignored("*", "!src/deep/er")).not.toContain("src/deep/er/a.ts");
  });

  it("is refused with a pattern of another form", () => {
    for (const pattern of ["[ab].md", "a\\*", "../x", "src/./a.ts"]) expect(() => ignored(pattern)).toThrow(pattern);
  });
});
