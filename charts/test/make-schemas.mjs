#!/usr/bin/env node
// Makes what schemas/README.md describes: node charts/test/make-schemas.mjs makes schemas/custom-resources.json from the CustomResourceDefinitions of
// other projects; with v1.37.2 ... also schemas/<version>.json from the OpenAPI of Kubernetes' releases.
// Needs Go, which loads the module of each. Only what the chart's kinds need is kept, without descriptions.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";

const FOLDER = fileURLToPath(new URL("schemas/", import.meta.url));
const KINDS = [
  "apps.v1.Deployment",
  "apps.v1.StatefulSet",
  "autoscaling.v2.HorizontalPodAutoscaler",
  "batch.v1.Job",
  "core.v1.ConfigMap",
  "core.v1.PersistentVolumeClaim",
  "core.v1.Pod",
  "core.v1.Service",
  "core.v1.ServiceAccount",
  "networking.k8s.io.v1.Ingress",
  "networking.k8s.io.v1.NetworkPolicy",
  "policy.v1.PodDisruptionBudget",
];
/** The projects whose objects the chart makes, all under Apache-2.0, and their definitions in the modules' folders. */
const CUSTOM = {
  "github.com/prometheus-operator/prometheus-operator@v0.85.0": [
    "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
    "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
  ],
  "github.com/kedacore/keda/v2@v2.21.0": ["config/crd/bases/keda.sh_scaledobjects.yaml"],
  "github.com/cert-manager/cert-manager@v1.21.2": [
    "deploy/crds/cert-manager.io_certificates.yaml",
    "deploy/crds/cert-manager.io_issuers.yaml",
  ],
};
const quantity = { oneOf: [{ type: "string" }, { type: "number" }] };
const intOrString = { oneOf: [{ type: "string" }, { type: "integer" }] };

/** A definition as a server reads it: no unknown field, and null only where the schema says so. */
function strict(name, schema) {
  if (name.endsWith(".api.resource.Quantity")) return quantity;
  if (name.endsWith(".util.intstr.IntOrString")) return intOrString;
  const { description: _, properties, ...rest } = schema;
  if (properties === undefined) return rest;
  const clean = ([key, { description: __, ...value }]) => [key, value];
  return { ...rest, properties: Object.fromEntries(Object.entries(properties).map(clean)), additionalProperties: false };
}

function referencesOf(schema) {
  return [...JSON.stringify(schema).matchAll(/"\$ref":"#\/definitions\/([^"]+)"/g)].map(([, name]) => name);
}

function nameOf(kind, definitions) {
  const [, version, short] = kind.match(/\.(v\w+)\.(\w+)$/);
  const group = kind.slice(0, -(version.length + short.length + 2));
  for (const [name, definition] of Object.entries(definitions)) {
    const is = definition["x-kubernetes-group-version-kind"]?.[0];
    if (is?.kind === short && is.version === version && (is.group || "core") === group) return name;
  }
  throw new Error(`no definition of ${kind}`);
}

/** The folder of a module, which Go loads. */
function folderOf(module) {
  return JSON.parse(execFileSync("go", ["mod", "download", "-json", module], { encoding: "utf8" })).Dir;
}

/** A definition without its descriptions: keys of that name whose value is text. A property of that name is an object. */
function bare(node) {
  if (Array.isArray(node)) return node.map(bare);
  if (node === null || typeof node !== "object") return node;
  const kept = Object.entries(node).filter(([key, value]) => key !== "description" || typeof value !== "string");
  return Object.fromEntries(kept.map(([key, value]) => [key, bare(value)]));
}

function write(name, contents) {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(join(FOLDER, name), `${JSON.stringify(contents)}\n`);
  console.log(`schemas/${name}`);
}

function makeCustomResources() {
  const sources = Object.entries(CUSTOM).map(([from, files]) => {
    const folder = folderOf(from);
    return {
      from,
      license: "Apache-2.0",
      definitions: files.map((file) => bare(parse(readFileSync(join(folder, file), "utf8")))),
    };
  });
  write("custom-resources.json", { sources });
}

function makeRelease(version) {
  const from = `k8s.io/kubernetes@${version}`;
  const { definitions } = JSON.parse(readFileSync(join(folderOf(from), "api/openapi-spec/swagger.json"), "utf8"));
  const kept = {};
  const open = KINDS.map((kind) => nameOf(kind, definitions));
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (name in kept) continue;
    kept[name] = strict(name, definitions[name]);
    open.push(...referencesOf(kept[name]));
  }
  const sorted = Object.fromEntries(Object.entries(kept).sort(([a], [b]) => (a < b ? -1 : 1)));
  write(`${version.replace(/^v(\d+\.\d+)\..*/, "$1")}.json`, { from, definitions: sorted });
}

makeCustomResources();
for (const version of process.argv.slice(2)) makeRelease(version);
