#!/usr/bin/env node
// Installs helm and kubeconform into .moiety/tools, where the tests of the chart look for them, if Go is here. Without Go it says so, and ends with 0.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../../.moiety/tools", import.meta.url));
const MODULES = {
  helm: "helm.sh/helm/v4/cmd/helm@v4.3.1",
  kubeconform: "github.com/yannh/kubeconform/cmd/kubeconform@v0.7.0",
};

const { PATH = "" } = process.env;
const env = { ...process.env, GOBIN: FOLDER, PATH: [PATH, "/usr/local/go/bin"].join(delimiter) };
for (const [name, module] of Object.entries(MODULES)) {
  if (existsSync(join(FOLDER, name))) continue;
  console.log(`installing ${module}`);
  const { status, error } = spawnSync("go", ["install", module], { env, stdio: "inherit" });
  if (error?.code === "ENOENT") {
    console.log(`${name} is not installed: there is no Go. Tests that need it are skipped.`);
    continue;
  }
  if (status !== 0) process.exit(1);
}
