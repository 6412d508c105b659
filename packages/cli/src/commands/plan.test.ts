import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { planCommand } from "./plan.js";

const folder = mkdtempSync(join(tmpdir(), "moiety-plan-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());

const recorded = fileURLToPath(new URL("../../fixtures/recorded-bench.json", import.meta.url));
const tiny = fileURLToPath(new URL("../../models/moiety-tiny", import.meta.url));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** What `moiety plan` prints. */
async function plan(...argv: readonly string[]): Promise<string> {
  const print = vi.spyOn(console, "log").mockImplementation(() => undefined);
  const silent = { writeErr: () => undefined, writeOut: () => undefined };
  await planCommand().exitOverride().configureOutput(silent).parseAsync(argv, { from: "user" });
  return print.mock.calls.map(([text]) => String(text)).join("\n");
}

describe("moiety plan", () => {
  it("prints which worker is too small, and by how much", async () => {
    const text = await plan("--shape", "120b", "--device", "rtx-4090", "--experts", "2,3", "--batch", "1");
    expect(text).toMatch(/^gpt-oss-120b: 36 layers, 128 experts/);
    // 2,304 experts of 13,236,480 bytes and 2.4 GB kept free, in 24 GB.
    expect(text).toContain("too small with 2 expert workers: experts/0 lacks 8896849920 bytes (8.90 GB)");
    expect(text).not.toContain("too small with 3");
  });

  it("reads a checkpoint's config.json and predicts powers of two up to its experts", async () => {
    const { shape, predictions } = JSON.parse(await plan(tiny, "--device", "laptop", "--json"));
    const counts = predictions.map(({ expertWorkers }: { readonly expertWorkers: number }) => expertWorkers);
    expect(counts).toEqual([1, 2, 4, 8, 16, 32, 64].filter((count) => count <= shape.experts));
    expect(predictions[0]).toMatchObject({ fits: true, decode: [{ batch: 1 }, { batch: 16 }, { batch: 64 }] });
  });

  it("takes a described fleet as it is, and flags for hop and link before what it says", async () => {
    const fleet = { attention: [{ device: "h100" }], experts: [{ device: "l4", count: 3 }], hop: { constantUs: 1, usPerKb: 1 } };
    const path = file("fleet.json", JSON.stringify(fleet));
    const said = JSON.parse(await plan("--shape", "20b", "--fleet", path, "--hop-us", "65", "--link-gbit", "100", "--json"));
    expect(said.fleet).toMatchObject({ hop: { constantUs: 65, usPerKb: 1 }, link: { gbPerSecond: 12.5, latencyUs: 25 } });
    expect(said.predictions.map((each: { readonly expertWorkers: number }) => each.expertWorkers)).toEqual([3]);
  });

  it("takes figures from a bench, and shares one machine", async () => {
    const { fleet, predictions } = JSON.parse(
      await plan("--shape", "20b", "--measured", recorded, "--one-machine", "--experts", "2", "--json"),
    );
    expect(fleet.link).toBeUndefined();
    expect(fleet.hop.constantUs).toBeCloseTo(256, 0);
    expect(predictions[0].memory).toEqual([expect.objectContaining({ kind: "machine", memoryBytes: 25_276_514_304 })]);
    expect(predictions[0].decode[1].overlapped).toBeUndefined();
  });

  it("compares with a bench, and counts what is within the goal", async () => {
    const text = await plan("--check", recorded);
    expect(text).toMatch(/co-located, bf16, prefill 512 +\d+ +4611/);
    expect(text).toMatch(/\d+ of 10 within 20%/);
  });

  it.each([
    [["--device", "l4"], "expected a checkpoint's folder, or --shape 20b or 120b"],
    [["--shape", "20b"], "expected --fleet, --measured, --device or --attention-device"],
    [["--shape", "20b", "--attention-device", "l4"], "expected --fleet, --measured, --device or --expert-device"],
    [["--shape", "20b", "--device", "l5"], "Allowed choices are rtx-3090"],
    [["--shape", "20b", "--device", "l4", "--experts", "65"], "Expected an integer from 1 to 64"],
    [["--shape", "20b", "--device", "l4", "--headroom", "1"], "Expected a number from 0 to below 1"],
    [["--shape", "20b", "--fleet", "f.json", "--expert-device", "l4"], "it excludes --expert-device"],
    [["--shape", "20b", "--fleet", "/no/such/file"], "/no/such/file: cannot be read"],
    [["--shape", "20b", "/no/such/folder", "--device", "l4"], "a checkpoint's folder and --shape exclude each other"],
  ])("refuses %j", async (argv, message) => {
    await expect(plan(...argv)).rejects.toThrow(message);
  });

  it("refuses a file that is no JSON", async () => {
    await expect(plan("--check", file("broken.json", "{"))).rejects.toThrow("broken.json: not valid JSON");
  });
});
