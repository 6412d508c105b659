import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { REPOSITORY } from "./repository.js";

const INSTALLED_BY = {
  prometheus: "`node deploy/test/install-prometheus.mjs` installs it on Debian",
  promtool: "`node deploy/test/install-prometheus.mjs` installs it on Debian",
  hadolint: "`node deploy/test/install-hadolint.mjs` installs it where Python's pip is",
  "compose-spec": "`node deploy/test/install-compose-spec.mjs` installs it where Go is",
};

/** A program of .moiety/tools or of the PATH; undefined: there is none, and that is printed. */
export function findProgram(name: keyof typeof INSTALLED_BY): string | undefined {
  const installed = `${REPOSITORY}.moiety/tools/${name}`;
  if (existsSync(installed)) return installed;
  if (spawnSync(name, ["--version"]).status === 0) return name;
  console.log(`skipped: there is no ${name}; ${INSTALLED_BY[name]}`);
  return undefined;
}
