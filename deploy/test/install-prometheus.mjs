#!/usr/bin/env node
// Puts prometheus and promtool into .moiety/tools, where the tests of rules and dashboards look for them: out of Debian's package, which takes
// seconds, needs no rights, and installs nothing else. Elsewhere it says so, and ends with 0.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../.moiety/tools", import.meta.url));
const PROGRAMS = ["prometheus", "promtool"];

const isOnPath = (name) => spawnSync(name, ["--version"]).status === 0;

/** Returns why it failed; undefined when it did not. */
function unpack(folder) {
  const run = (name, words) => spawnSync(name, words, { cwd: folder, encoding: "utf8" });
  let downloaded = run("apt-get", ["download", "prometheus"]);
  if (downloaded.error !== undefined) return "there is no apt-get";
  if (downloaded.status !== 0) {
    // The lists of packages may be missing, as in an image.
    run("apt-get", ["update"]);
    downloaded = run("apt-get", ["download", "prometheus"]);
  }
  const file = readdirSync(folder).find((name) => name.endsWith(".deb"));
  if (file === undefined) return downloaded.stderr.trim().split("\n").at(-1);
  const unpacked = run("dpkg-deb", ["-x", file, "."]);
  if (unpacked.status !== 0) return unpacked.stderr;
  mkdirSync(FOLDER, { recursive: true });
  for (const name of PROGRAMS) copyFileSync(join(folder, "usr/bin", name), join(FOLDER, name));
  return undefined;
}

if (!PROGRAMS.every((name) => existsSync(join(FOLDER, name)) || isOnPath(name))) {
  console.log("installing prometheus from Debian's package");
  const folder = mkdtempSync(join(tmpdir(), "moiety-prometheus-"));
  const fault = unpack(folder);
  rmSync(folder, { recursive: true, force: true });
  if (fault !== undefined) console.log(`prometheus is not installed: ${fault}. Tests that need it are skipped.`);
}
