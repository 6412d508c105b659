import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { findProgram } from "../../deploy/test/program.js";
import { Helm, type Manifest } from "./helm.js";
import { CUSTOM_RESOURCES, RELEASES, writeSchemas } from "./schemas.js";
import { VALUE_SETS } from "./value-sets.js";

const program = findProgram("helm");
const kubeconform = findProgram("kubeconform");
const helm = new Helm(program ?? "helm");
const canRun = program !== undefined && kubeconform !== undefined;

describe.runIf(canRun).each(RELEASES)("the API of Kubernetes %s", (release) => {
  const location = canRun ? writeSchemas(release) : "";
  const rendered = Object.entries(VALUE_SETS).map(([name, values]) => [name, canRun ? helm.manifests(...values) : []] as const);
  const perKind = new Map(rendered.flatMap(([, manifests]) => manifests.map((manifest) => [manifest.kind, manifest] as const)));

  function validate(input: string): { readonly status: number | null; readonly stdout: string } {
    const args = ["-strict", "-summary", "-schema-location", location, "-"];
    return spawnSync(kubeconform ?? "", args, { input, encoding: "utf8" });
  }

  it.each(rendered)("takes every object of the chart with %s, and skips none", (name, manifests) => {
    const { status, stdout } = validate(helm.render(...(VALUE_SETS[name] ?? [])));
    expect(status, stdout).toBe(0);
    expect(stdout).toContain(`Valid: ${manifests.length}, Invalid: 0, Errors: 0, Skipped: 0`);
  });

  it("knows kinds of others, all of which the chart makes but the issuer", () => {
    const kinds = CUSTOM_RESOURCES.map(({ spec }) => spec.names.kind);
    expect(kinds).toEqual(["PodMonitor", "PrometheusRule", "ScaledObject", "Certificate", "Issuer"]);
    expect(kinds.filter((kind) => !perKind.has(kind))).toEqual(["Issuer"]);
  });

  it.each([...perKind])("refuses a field that %s does not have, and a version", (kind, manifest) => {
    const wrongs: readonly object[] = [
      { ...manifest, wrongField: 1 },
      { ...manifest, metadata: { ...manifest.metadata, wrongField: 1 } },
      ...(manifest.spec === undefined ? [] : [{ ...manifest, spec: { ...manifest.spec, wrongField: 1 } }]),
    ];
    for (const wrong of wrongs) {
      const { status, stdout } = validate(JSON.stringify(wrong));
      expect(stdout).toMatch(/additional ?[pP]roperties.*wrongField/);
      expect(status).toBe(1);
    }
    const { status, stdout } = validate(JSON.stringify({ ...manifest, apiVersion: "v1alpha9" }));
    expect(stdout).toContain(`could not find schema for ${kind}`);
    expect(status).toBe(1);
  });

  it.each<[string, string, (spec: Manifest["spec"]) => object]>([
    ["PodMonitor", "a misspelt endpoint", (spec) => ({ ...spec, podMetricsEndpoints: [{ port: "http", honourLabels: true }] })],
    [
      "PodMonitor",
      "an interval of no duration",
      (spec) => ({ ...spec, podMetricsEndpoints: [{ port: "http", interval: "often" }] }),
    ],
    [
      "PrometheusRule",
      "a rule of no expression",
      ({ groups }) => ({ groups: [{ name: groups[0].name, rules: [{ alert: "A" }] }] }),
    ],
    ["ScaledObject", "a trigger of no type", (spec) => ({ ...spec, triggers: [{ metadata: {} }] })],
    ["ScaledObject", "a threshold that is no text", (spec) => ({ ...spec, triggers: [{ type: "cpu", metadata: { value: 1 } }] })],
    ["Certificate", "an algorithm that nobody has", (spec) => ({ ...spec, privateKey: { algorithm: "ROT13" } })],
    ["Certificate", "no issuer", ({ issuerRef: _, ...spec }) => spec],
  ])("refuses %s with %s", (kind, _, change) => {
    const manifest = perKind.get(kind) as Manifest;
    const { status, stdout } = validate(JSON.stringify({ ...manifest, spec: change(manifest.spec) }));
    expect(status, stdout).toBe(1);
    expect(stdout).toContain("is invalid: problem validating schema");
  });
});
