import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

type Schema = Readonly<Record<string, unknown>>;

/** As a cluster takes it, without descriptions. */
export interface CustomResourceDefinition {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly names: { readonly kind: string };
    readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
}

interface GroupVersionKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

interface Release {
  readonly definitions: Readonly<Record<string, { readonly "x-kubernetes-group-version-kind"?: readonly GroupVersionKind[] }>>;
}

const FOLDER = fileURLToPath(new URL("schemas/", import.meta.url));
const CUSTOM = "custom-resources.json";
const OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/** Releases of Kubernetes whose schemas are here, such as `1.37`, the oldest first. */
export const RELEASES: readonly string[] = readdirSync(FOLDER)
  .flatMap((name) => /^(\d+\.\d+)\.json$/.exec(name)?.[1] ?? [])
  .sort((a, b) => Number(a.split(".")[1]) - Number(b.split(".")[1]));

/** Definitions of the resources that are no part of Kubernetes. */
export const CUSTOM_RESOURCES: readonly CustomResourceDefinition[] = (
  read(CUSTOM) as { sources: readonly { definitions: readonly CustomResourceDefinition[] }[] }
).sources.flatMap(({ definitions }) => definitions);

/**
 * Writes a release's schemas and those of custom resources, a file for each kind.
 * Returns where they are, in the words of kubeconform's option -schema-location.
 */
export function writeSchemas(release: string): string {
  const folder = mkdtempSync(join(tmpdir(), "moiety-schemas-"));
  const write = (name: string, schema: object) => writeFileSync(join(folder, `${name}.json`), JSON.stringify(schema));
  // The group of Kubernetes' core has no name, and kubeconform takes the version for it.
  const writeKind = ({ group, version, kind }: GroupVersionKind, schema: object) =>
    write(`${group || version}-${kind.toLowerCase()}-${version}`, schema);
  const ofDefinition = (name: string) => ({ $ref: `_definitions.json#/definitions/${name}` });
  const { definitions } = read(`${release}.json`) as Release;
  write("_definitions", { definitions });
  for (const [name, definition] of Object.entries(definitions))
    for (const kind of definition["x-kubernetes-group-version-kind"] ?? []) writeKind(kind, ofDefinition(name));
  for (const { spec } of CUSTOM_RESOURCES)
    for (const { name: version, schema } of spec.versions) {
      const { properties, ...rest } = strict(schema.openAPIV3Schema);
      const withMetadata = { ...(properties as object), metadata: ofDefinition(OBJECT_META) };
      writeKind({ group: spec.group, version, kind: spec.names.kind }, { ...rest, properties: withMetadata });
    }
  return `${folder}/{{.Group}}-{{.ResourceKind}}-{{.ResourceAPIVersion}}.json`;
}

/** A schema of OpenAPI as one of JSON that refuses unknown fields, as a server does when asked to. */
function strict(schema: Schema): Schema {
  const strictly = (value: unknown) => (typeof value === "object" ? strict(value as Schema) : value);
  const { properties, items, additionalProperties, nullable, ...rest } = schema;
  return {
    ...rest,
    ...(nullable === true ? { type: [rest["type"], "null"] } : {}),
    ...(items === undefined ? {} : { items: strictly(items) }),
    ...(additionalProperties === undefined ? {} : { additionalProperties: strictly(additionalProperties) }),
    ...(properties === undefined ? {} : strictProperties(properties as Record<string, Schema>, schema)),
  };
}

function strictProperties(
  properties: Readonly<Record<string, Schema>>,
  { "x-kubernetes-preserve-unknown-fields": open }: Schema,
) {
  const each = Object.entries(properties).map(([key, value]) => [key, strict(value)]);
  return { properties: Object.fromEntries(each), ...(open === true ? {} : { additionalProperties: false }) };
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(join(FOLDER, name), "utf8"));
}
