import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

interface Example {
  readonly code: string;
  readonly output: string;
}

/** Each block of JavaScript, and the block of text that it prints. */
const examples: readonly Example[] = [...readme.matchAll(/```js\n(.*?)```\n\n```text\n(.*?)```/gs)].map(
  ([, code = "", output = ""]) => ({ code, output }),
);

const MODULES: Readonly<Record<string, () => Promise<unknown>>> = {
  "@moiety/harmony": () => import("./index.js"),
  "js-tiktoken/lite": () => import("js-tiktoken/lite"),
  "js-tiktoken/ranks/o200k_base": () => import("js-tiktoken/ranks/o200k_base"),
};

/** Imports become calls of `load`, so that an example is the body of a function. */
function asFunctionBody(code: string): string {
  return code
    .replace(/^import (\{.*\}) from (".*");$/gm, "const $1 = await load($2);")
    .replace(/^import (\w+) from (".*");$/gm, "const { default: $1 } = await load($2);");
}

async function outputOf(code: string): Promise<string> {
  const lines: string[] = [];
  const log = (...parts: readonly unknown[]) => lines.push(`${parts.join(" ")}\n`);
  const AsyncFunction = (async () => undefined).constructor as FunctionConstructor;
  const run = new AsyncFunction("load", "console", asFunctionBody(code));
  await run((name: string) => MODULES[name]?.(), { log });
  return lines.join("");
}

describe("README", () => {
  it("has examples, each with what it prints", () => {
    expect(examples).toHaveLength(4);
    expect(readme.match(/```js/g)).toHaveLength(examples.length);
  });

  it.each(examples.map((example, index) => [index + 1, example] as const))(
    "prints what example %i says",
    async (_number, { code, output }) => {
      expect(await outputOf(code)).toBe(output);
    },
    60_000,
  );
});
