import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { interpolate, readCompose, targetOf } from "./compose.js";
import { findProgram } from "./program.js";
import { REPOSITORY, readText } from "./repository.js";

interface Device {
  readonly driver: string;
  readonly device_ids: readonly string[];
  readonly capabilities: readonly string[];
}

interface Service {
  readonly image: string;
  readonly deploy?: { readonly resources: { readonly reservations: { readonly devices: readonly Device[] } } };
}

type Services = Readonly<Record<string, Service>>;

const BASE = "deploy/compose.yaml";
const OVERLAY = "deploy/compose.gpu.yaml";
const { services } = readCompose();
const workers = Object.keys(services).filter((name) => /worker/.test(name));
const composeSpec = findProgram("compose-spec");

function overlay(variables: Readonly<Record<string, string>> = {}): Services {
  return (parse(interpolate(readText(OVERLAY), variables)) as { readonly services: Services }).services;
}

function devicesOf(file: Services): readonly Device[] {
  return Object.values(file).flatMap(({ deploy }) => deploy?.resources.reservations.devices ?? []);
}

describe("the compose file for GPUs", () => {
  it("reserves one device for each worker, and changes nothing else", () => {
    expect(Object.keys(overlay()).sort()).toEqual([...workers].sort());
    for (const service of Object.values(overlay())) expect(Object.keys(service)).toEqual(["image", "deploy"]);
    for (const { deploy } of Object.values(overlay()))
      expect(deploy?.resources.reservations.devices).toEqual([
        { driver: "nvidia", device_ids: [expect.stringMatching(/^\d+$/)], capabilities: ["gpu"] },
      ]);
  });

  it("gives no device twice", () => {
    const ids = devicesOf(overlay()).flatMap(({ device_ids }) => device_ids);
    expect(ids).toHaveLength(workers.length);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("is told devices and images by a variable each", () => {
    const variables = workers.map((name) => [`MOIETY_${name.toUpperCase().replaceAll("-", "_")}_GPU`, `GPU-of-${name}`]);
    expect(devicesOf(overlay(Object.fromEntries(variables))).flatMap(({ device_ids }) => device_ids)).toEqual(
      Object.keys(overlay()).map((name) => `GPU-of-${name}`),
    );
    for (const [name, { image }] of Object.entries(overlay())) {
      expect(image).toBe(services[name]?.image);
      const target = services[name] === undefined ? undefined : targetOf(services[name]);
      const variable = `MOIETY_${target?.toUpperCase().replaceAll("-", "_")}_IMAGE`;
      expect(overlay({ [variable]: "registry.example/own:1" })[name]?.image).toBe("registry.example/own:1");
    }
  });
});

describe.runIf(composeSpec !== undefined)("by Docker Compose's own library", () => {
  const load = (...files: readonly string[]) => {
    const given = files.map((file) => resolve(REPOSITORY, file));
    return spawnSync(composeSpec ?? "", ["-format", "json", ...given], { encoding: "utf8", maxBuffer: 16 << 20 });
  };
  const merged = (...files: readonly string[]) => {
    const { status, stdout, stderr } = load(...files);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    return (JSON.parse(stdout) as { readonly services: Services }).services;
  };

  it("the compose file is valid", () => {
    expect(Object.keys(merged(BASE)).sort()).toEqual(Object.keys(services).sort());
  });

  it("the two together are valid, have each device once, and differ from the first in nothing but devices", () => {
    const both = merged(BASE, OVERLAY);
    const ids = devicesOf(both).flatMap(({ device_ids }) => device_ids);
    expect([...ids].sort()).toEqual(["0", "1", "2"]);
    const without = (file: Services) =>
      Object.fromEntries(Object.entries(file).map(([name, each]) => [name, { ...each, deploy: null }]));
    expect(without(both)).toEqual(without(merged(BASE)));
  });

  it("what has a fault is refused", () => {
    const folder = mkdtempSync(join(tmpdir(), "moiety-compose-"));
    writeFileSync(join(folder, "faulty.yaml"), readText(OVERLAY).replaceAll(", capabilities: [gpu]", ""));
    const { status, stderr } = load(BASE, join(folder, "faulty.yaml"));
    rmSync(folder, { recursive: true });
    expect(status).toBe(1);
    expect(stderr).toContain("missing property 'capabilities'");
  });
});
