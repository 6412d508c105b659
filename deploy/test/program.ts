import { existsSync } from "node:fs";
import { findProgram as findOnPath } from "../../tools/setup/step.mjs";
import { REPOSITORY } from "./repository.js";

const BY_CHART = (name: string) => `\`node charts/test/install-tools.mjs ${name}\` installs it where Go is`;
const BY_PROMETHEUS = "`node deploy/test/install-prometheus.mjs` installs it on Debian";
const INSTALLED_BY = {
  prometheus: BY_PROMETHEUS,
  promtool: BY_PROMETHEUS,
  hadolint: "`node deploy/test/install-hadolint.mjs` installs it where Python's pip is",
  "compose-spec": "`node deploy/test/install-compose-spec.mjs` installs it where Go is",
  helm: BY_CHART("helm"),
  helm3: BY_CHART("helm3"),
  kubeconform: BY_CHART("kubeconform"),
};

/** A program of .moiety/tools or of the PATH; undefined: there is none, and that is printed. */
export function findProgram(name: keyof typeof INSTALLED_BY): string | undefined {
  const installed = `${REPOSITORY}.moiety/tools/${name}`;
  const found = existsSync(installed) ? installed : findOnPath(name);
  if (found === undefined) console.log(`skipped: there is no ${name}; ${INSTALLED_BY[name]}`);
  return found;
}
