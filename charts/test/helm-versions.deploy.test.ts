import { describe, expect, it } from "vitest";
import { findProgram } from "../../deploy/test/program.js";
import { CHART, Helm, TEMPLATE } from "./helm.js";
import { LEAST, VALUE_SETS } from "./value-sets.js";

const PROGRAMS = { 4: findProgram("helm"), 3: findProgram("helm3") };
const VERSIONS = Object.entries(PROGRAMS).flatMap(([major, program]) =>
  program === undefined ? [] : [{ name: `Helm ${major}`, major, helm: new Helm(program) }],
);

describe.each(VERSIONS)("$name", ({ major, helm }) => {
  it("is what it is called", () => {
    expect(helm.run(["version", "--template", "{{.Version}}"]).stdout).toMatch(new RegExp(`^v${major}\\.`));
  });

  it.each(Object.entries(VALUE_SETS))("finds no fault in the chart with %s", (_, values) => {
    const { status, stdout } = helm.run(["lint", "--strict", CHART], ...values);
    expect(status, stdout).toBe(0);
    expect(stdout).toContain("1 chart(s) linted, 0 chart(s) failed");
  });

  it.each([
    ["of another type", { gateway: { replicas: "many" } }, /replicas.*integer/s],
    ["that nobody knows", { gateways: {} }, /gateways/],
    ["that the chart's own check refuses", { colocated: true }, /expertPools must be \[\]/],
  ])("refuses a value %s", (_, values, message) => {
    const { status, stderr } = helm.run(TEMPLATE, LEAST, values);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(message);
  });
});

describe.runIf(VERSIONS.length > 1)("both versions of Helm", () => {
  it.each(Object.entries(VALUE_SETS))("render the same objects in the same order with %s", (_, values) => {
    const [one, other] = VERSIONS.map(({ helm }) => helm.manifests(...values));
    expect(one?.length).toBeGreaterThan(10);
    expect(other).toEqual(one);
  });
});
