#!/usr/bin/env node
// Puts compose-spec into .moiety/tools, where the tests of compose files look for it: the program of the library by which Docker Compose reads,
// merges and validates them. Without Go it says so, and ends with 0.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../.moiety/tools", import.meta.url));
const MODULE = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2";

/** Returns why it failed; undefined when it did not. */
function install(folder) {
  const env = { ...process.env, PATH: [process.env.PATH ?? "", "/usr/local/go/bin"].join(delimiter), GOBIN: folder };
  const { status, stderr, error } = spawnSync("go", ["install", "-ldflags=-s -w", MODULE], { env, encoding: "utf8" });
  if (error !== undefined) return "there is no Go";
  if (status !== 0) return stderr.trim().split("\n").at(-1);
  mkdirSync(FOLDER, { recursive: true });
  copyFileSync(join(folder, "cmd"), join(FOLDER, "compose-spec"));
  return undefined;
}

if (!existsSync(join(FOLDER, "compose-spec"))) {
  console.log(`installing ${MODULE}`);
  const folder = mkdtempSync(join(tmpdir(), "moiety-compose-spec-"));
  const fault = install(folder);
  rmSync(folder, { recursive: true, force: true });
  if (fault !== undefined) console.log(`compose-spec is not installed: ${fault}. Tests that need it are skipped.`);
}
