#!/usr/bin/env node
// Makes values.schema.json, README.md and the copies of dashboards and rules from values.yaml and deploy/.
// `node charts/generate.mjs` writes them, `--check` says which are out of date and ends with 1. The names of variables are those of the built services.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { isMap, isScalar, parseDocument } from "yaml";

const CHART = fileURLToPath(new URL("moiety/", import.meta.url));
const DEPLOY = fileURLToPath(new URL("../deploy/", import.meta.url));
const ANNOTATION = "@schema ";
/** What the chart itself sets in every process. */
const OF_EVERY_PROCESS = [
  "MOIETY_HTTP_HOST",
  "MOIETY_HTTP_PORT",
  "MOIETY_LOG_LEVEL",
  "MOIETY_DRAIN_TIMEOUT_MS",
  "MOIETY_TLS_CA",
  "MOIETY_TLS_CERT",
  "MOIETY_TLS_KEY",
  "MOIETY_TLS_SERVER_NAME",
];

/** What each service reads from its environment. */
const SHAPES = {
  gateway: (await configOf("gateway")).gatewayConfigSchema.shape,
  router: (await configOf("router")).routerConfigSchema.shape,
  "attention-worker": (await configOf("attention-worker")).attentionWorkerConfigSchema.shape,
  "expert-worker": (await configOf("expert-worker")).expertWorkerConfigSchema.shape,
};

/** The built module of a service's configuration. */
function configOf(service) {
  const file = new URL(`../services/${service}/dist/config.js`, import.meta.url);
  if (!existsSync(file)) throw new Error(`services/${service} is not built: run \`npm run build\` first`);
  return import(file.href);
}

/** @typedef {{ key: string, path: string, sentence: string, value: unknown, schema: Record<string, unknown>, children: Entry[] }} Entry */

/** The entries of a map with the comments before them. The first key's comment hangs on the map. @returns {Entry[]} */
function entriesOf(map, prefix = "") {
  return map.items.map((pair, index) => {
    const key = pair.key.value;
    const path = `${prefix}${key}`;
    const comment = index === 0 ? (map.commentBefore ?? pair.key.commentBefore) : pair.key.commentBefore;
    // A comment that an empty line parts from the key is the file's own.
    const lines = (comment ?? "")
      .split("\n\n")
      .at(-1)
      .split("\n")
      .map((line) => line.trim());
    const annotation = lines.find((line) => line.startsWith(ANNOTATION));
    const schema = annotation === undefined ? {} : JSON.parse(annotation.slice(ANNOTATION.length));
    const sentence = lines.filter((line) => line !== "" && !line.startsWith(ANNOTATION)).join(" ");
    const isGroup = isMap(pair.value) && !pair.value.flow && pair.value.items.length > 0 && key !== "resources";
    if (sentence === "") throw new Error(`values.yaml: ${path} has no sentence`);
    const value = isScalar(pair.value) ? pair.value.value : pair.value.toJSON();
    return { key, path, sentence, value, schema, children: isGroup ? entriesOf(pair.value, `${path}.`) : [] };
  });
}

function typeOf(value) {
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
}

/** The variables of a service that values may set: those of `moiety serve SERVICE --list-config` but what the chart sets itself. */
function configSchema(service, ofChart) {
  const shape = SHAPES[service];
  for (const name of ofChart)
    if (!(name in shape)) throw new Error(`values.yaml: the chart sets ${name}, which ${service} does not read`);
  const free = Object.entries(shape).filter(([name]) => ![...OF_EVERY_PROCESS, ...ofChart].includes(name));
  const properties = free.map(([name, { description }]) => [name, { description, type: ["string", "number", "boolean"] }]);
  return { type: "object", additionalProperties: false, properties: Object.fromEntries(properties) };
}

function schemaOf(entry, byKey) {
  const { sentence, schema, value, children } = entry;
  const described = { description: sentence };
  if (children.length > 0) return { ...described, ...objectOf(children, byKey) };
  const { variablesOf, but, pools, ...rest } = schema;
  if (variablesOf !== undefined) return { ...described, ...configSchema(variablesOf, but) };
  if (pools !== undefined) return { ...described, type: "array", items: poolOf(byKey.get(pools).children, byKey) };
  // A threshold may have a fraction, whatever its default is.
  const type = "exclusiveMinimum" in rest ? "number" : typeOf(value);
  return { ...described, type, ...(entry.key === "resources" ? resourcesSchema : {}), ...rest };
}

const quantities = { type: "object", additionalProperties: { type: ["string", "number"] } };
const resourcesSchema = { additionalProperties: false, properties: { requests: quantities, limits: quantities } };

function objectOf(entries, byKey) {
  const properties = Object.fromEntries(entries.map((entry) => [entry.key, schemaOf(entry, byKey)]));
  return { type: "object", additionalProperties: false, properties };
}

function poolOf(entries, byKey) {
  const { properties } = objectOf(entries, byKey);
  const name = { type: "string", pattern: "^[a-z]([-a-z0-9]{0,14}[a-z0-9])?$", description: "Name of the pool." };
  return { type: "object", required: ["name"], additionalProperties: false, properties: { name, ...properties } };
}

function makeSchema(entries) {
  const byKey = new Map(entries.map((entry) => [entry.key, entry]));
  const { properties } = objectOf(entries, byKey);
  // Helm and its subcharts add this one.
  const schema = { type: "object", additionalProperties: false, properties: { ...properties, global: { type: "object" } } };
  return `${JSON.stringify({ $schema: "http://json-schema.org/draft-07/schema#", ...schema }, undefined, 2)}\n`;
}

const cell = (text) => text.replaceAll("|", "\\|");
const leavesOf = (entry) => (entry.children.length > 0 ? entry.children.flatMap(leavesOf) : [entry]);

function makeReadme(entries) {
  const parts = [readFileSync(`${CHART}README.head.md`, "utf8").trim(), "## Values"];
  const rows = (leaves) => [
    "| key | default | what |\n|---|---|---|",
    ...leaves.map(({ path, value, sentence }) => `| \`${path}\` | \`${cell(JSON.stringify(value))}\` | ${cell(sentence)} |`),
  ];
  const single = entries.filter(({ children }) => children.length === 0);
  parts.push(rows(single).join("\n"));
  for (const entry of entries.filter(({ children }) => children.length > 0)) {
    parts.push(`### ${entry.key}`);
    parts.push(entry.sentence);
    parts.push(rows(leavesOf(entry)).join("\n"));
  }
  return `${parts.join("\n\n")}\n`;
}

/** Files of a folder of deploy/ that the chart carries, since it can read none outside of itself. */
function copiesOf(folder, target, ending) {
  if (!existsSync(`${DEPLOY}${folder}`)) return [];
  const names = readdirSync(`${DEPLOY}${folder}`).filter((name) => ending.test(name));
  return names.map((name) => [`files/${target}/${name}`, readFileSync(`${DEPLOY}${folder}/${name}`, "utf8")]);
}

const document = parseDocument(readFileSync(`${CHART}values.yaml`, "utf8"));
const entries = entriesOf(document.contents);
const made = [
  ["values.schema.json", makeSchema(entries)],
  ["README.md", makeReadme(entries)],
  ...copiesOf("grafana/dashboards", "dashboards", /\.json$/),
  ...copiesOf("prometheus", "rules", /\.yaml$/),
  ...copiesOf("prometheus/rules", "rules", /\.yaml$/),
];
const read = (name) => (existsSync(`${CHART}${name}`) ? readFileSync(`${CHART}${name}`, "utf8") : undefined);
const stale = made.filter(([name, text]) => read(name) !== text);
if (process.argv.includes("--check")) {
  for (const [name] of stale) console.error(`charts/moiety/${name} is out of date: run \`node charts/generate.mjs\``);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  for (const [name, text] of stale) {
    mkdirSync(dirname(`${CHART}${name}`), { recursive: true });
    writeFileSync(`${CHART}${name}`, text);
  }
}
