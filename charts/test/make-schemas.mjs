#!/usr/bin/env node
// Makes schemas/<version>.json for kinds.test.ts from the OpenAPI of Kubernetes' releases: node charts/test/make-schemas.mjs v1.37.2 ...
// Needs Go, which loads the module k8s.io/kubernetes of each. Only what the chart's kinds need is kept, without descriptions.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

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

for (const version of process.argv.slice(2)) {
  const { Dir } = JSON.parse(
    execFileSync("go", ["mod", "download", "-json", `k8s.io/kubernetes@${version}`], { encoding: "utf8" }),
  );
  const { definitions } = JSON.parse(readFileSync(`${Dir}/api/openapi-spec/swagger.json`, "utf8"));
  const kept = {};
  const open = KINDS.map((kind) => nameOf(kind, definitions));
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (name in kept) continue;
    kept[name] = strict(name, definitions[name]);
    open.push(...referencesOf(kept[name]));
  }
  const sorted = Object.fromEntries(Object.entries(kept).sort(([a], [b]) => (a < b ? -1 : 1)));
  const file = `${FOLDER}${version.replace(/^v(\d+\.\d+)\..*/, "$1")}.json`;
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(file, `${JSON.stringify({ from: `k8s.io/kubernetes@${version}`, definitions: sorted })}\n`);
  console.log(`${file}: ${Object.keys(kept).length} definitions`);
}
