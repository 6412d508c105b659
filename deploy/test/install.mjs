import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram, STATE } from "../../tools/setup/step.mjs";

/** Where the tests of the deployment look for programs. */
const FOLDER = join(STATE, "tools");

/**
 * Puts programs into .moiety/tools, unless each is there or on PATH. `unpack` is given a folder that is removed afterwards, and returns the programs' paths in
 * it by name, or why it has none, as text: then that is printed, and the tests are skipped.
 */
export function install({ programs, origin, unpack }) {
  if (programs.every((name) => existsSync(join(FOLDER, name)) || findProgram(name) !== undefined)) return;
  console.log(`installing ${programs.join(" and ")} from ${origin}`);
  const folder = mkdtempSync(join(tmpdir(), "moiety-install-"));
  try {
    const found = unpack(folder);
    if (typeof found === "string") {
      console.log(`${programs.join(" and ")}: not installed: ${found}. Tests that need it are skipped.`);
      return;
    }
    mkdirSync(FOLDER, { recursive: true });
    for (const [name, path] of Object.entries(found)) {
      copyFileSync(join(folder, path), join(FOLDER, name));
      chmodSync(join(FOLDER, name), 0o755);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a command in a folder, for its outcome. */
export const run = (folder, [program, ...words], env = process.env) =>
  spawnSync(program, words, { cwd: folder, env, encoding: "utf8" });

/** The last line of what a command said. */
export const lastLine = (text) => text.trim().split("\n").at(-1);
