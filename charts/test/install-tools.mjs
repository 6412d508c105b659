#!/usr/bin/env node
// Installs what the tests of the deployment need, where Go is: helm and kubeconform into .moiety/tools, and the k6 of the load tests into the user's
// cache; with --all also Helm 3, as helm3, and to lack one is an error; or only the tools that are named. Needs nothing but Node. Without Go it says so.
import { spawnSync } from "node:child_process";
import { existsSync, renameSync, rmdirSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { preparedK6, whyNoK6 } from "../../load-tests/k6-program.mjs";
import { addGoToPath, GO_FLAGS, goEnvironment } from "../../tools/setup/go-build.mjs";

const FOLDER = fileURLToPath(new URL("../../.moiety/tools", import.meta.url));
const MODULES = {
  kubeconform: "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
  helm: "helm.sh/helm/v4/cmd/helm@v4.3.1",
  helm3: "helm.sh/helm/v3/cmd/helm@v3.22.0",
};
const given = process.argv.slice(2);
const named = given.filter((name) => name !== "--all");
const isWanted = (name) => (named.length > 0 ? named.includes(name) : name !== "helm3" || given.includes("--all"));

function lacks(what) {
  if (given.includes("--all")) process.exitCode = 1;
  console.log(`${what}. Tests that need it ${given.includes("--all") ? "cannot run" : "are skipped"}.`);
}

addGoToPath();
for (const [name, module] of Object.entries(MODULES)) {
  if (!isWanted(name) || existsSync(join(FOLDER, name))) continue;
  console.log(`installing ${module}`);
  // Go names a program as it likes.
  const made = join(FOLDER, `${name}.new`);
  const env = { ...goEnvironment(), GOBIN: made };
  const { status, error } = spawnSync("go", ["install", ...GO_FLAGS, "-ldflags=-s -w", module], { env, stdio: "inherit" });
  if (error?.code === "ENOENT") {
    lacks(`${name} is not installed: there is no Go (https://go.dev/dl)`);
    continue;
  }
  if (status !== 0) process.exit(1);
  renameSync(join(made, basename(module).split("@")[0]), join(FOLDER, name));
  rmdirSync(made);
}
if (isWanted("k6")) {
  const missing = whyNoK6();
  if (missing !== undefined) lacks(`k6 is not built: ${missing}`);
  else await preparedK6();
}
