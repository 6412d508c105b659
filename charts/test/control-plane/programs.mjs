import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { GoBuild } from "../../../tools/setup/go-build.mjs";

const SOURCE = fileURLToPath(new URL("./", import.meta.url));
const [, MAJOR, MINOR, PATCH] = readFileSync(`${SOURCE}go.mod`, "utf8").match(/k8s\.io\/kubernetes v(\d+)\.(\d+)\.(\d+)/);

/** The release of Kubernetes, such as `1.37`. */
export const RELEASE = `${MAJOR}.${MINOR}`;

const PACKAGES = {
  etcd: "go.etcd.io/etcd/server/v3",
  "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
  "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
  "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
};
/** Without it a server takes itself for one of release 0.0. */
const VERSION = { gitVersion: `v${MAJOR}.${MINOR}.${PATCH}`, gitMajor: MAJOR, gitMinor: MINOR };
const BUILD = new GoBuild({
  name: "kubernetes",
  source: SOURCE,
  files: ["go.mod", "go.sum"],
  programs: PACKAGES,
  ldflags: Object.entries(VERSION)
    .map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`)
    .join(" "),
  go: "1.26",
  howLong: "a quarter of an hour or more",
});

/** Paths of the programs by name; undefined when they were not built. */
export function findPrograms() {
  if (!BUILD.isBuilt) return undefined;
  return Object.fromEntries(Object.keys(PACKAGES).map((name) => [name, BUILD.file(name)]));
}

/** Builds the programs unless they are there. @throws StepError that says what is missing. */
export async function preparePrograms() {
  await BUILD.prepare();
}
