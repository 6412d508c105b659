import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readSafetensorsHeader } from "./read-safetensors.js";
import { readSafetensorsSet } from "./safetensors-set.js";

let directory = "";
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "moiety-safetensors-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const path = (name = "model.safetensors") => join(directory, name);

async function writeRaw(headerText: string, dataBytes: number, name?: string): Promise<void> {
  const header = Buffer.from(headerText);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  await writeFile(path(name), Buffer.concat([length, header, Buffer.alloc(dataBytes)]));
}

const entry = (dtype: string, shape: unknown, offsets: unknown) => ({ dtype, shape, data_offsets: offsets });
const write = (header: object, dataBytes: number, name?: string) => writeRaw(JSON.stringify(header), dataBytes, name);

const a = entry("BF16", [2, 3], [0, 12]);
const b = entry("U8", [4], [12, 16]);

describe("readSafetensorsHeader", () => {
  it("gives tensors in the order of their data, with offsets from the start of the file", async () => {
    await write({ __metadata__: { format: "pt" }, b, a }, 16);
    const { tensors, metadata } = await readSafetensorsHeader(path());
    expect(metadata).toEqual({ format: "pt" });
    expect(tensors.map(({ name }) => name)).toEqual(["a", "b"]);
    const fileBytes = (await readFile(path())).length;
    expect(tensors[0]).toEqual({ name: "a", dtype: "BF16", shape: [2, 3], offsetBytes: fileBytes - 16, lengthBytes: 12 });
  });

  it("lets through scalars, empty tensors and trailing spaces", async () => {
    const header = { scalar: entry("F32", [], [0, 4]), empty: entry("BF16", [0, 7], [4, 4]), none: entry("I64", [0], [0, 0]) };
    await writeRaw(`${JSON.stringify(header)}    `, 4);
    expect((await readSafetensorsHeader(path())).tensors).toHaveLength(3);
  });

  it.each([
    ["an unknown dtype", { a: entry("Q4", [2, 3], [0, 12]) }, 12, /tensor a: unknown dtype "Q4"/],
    ["a shape that its bytes do not fill", { a: entry("BF16", [2, 4], [0, 12]) }, 12, /tensor a: shape \[2, 4\] of BF16/],
    ["a shape whose product overflows", { a: entry("U8", [2 ** 40, 2 ** 40, 2 ** 40], [0, 12]) }, 12, /tensor a: shape/],
    ["a negative dimension", { a: entry("BF16", [-2, -3], [0, 12]) }, 12, /tensor a: shape\.0/],
    ["a fractional dimension", { a: entry("BF16", [1.5, 4], [0, 12]) }, 12, /tensor a: shape\.0/],
    ["too many dimensions", { a: entry("U8", Array(17).fill(1), [0, 1]) }, 1, /tensor a: shape/],
    ["offsets that run backwards", { a: entry("BF16", [2, 3], [12, 0]) }, 12, /tensor a: data_offsets \[12, 0\] run backwards/],
    ["offsets beyond the file", { a: entry("BF16", [2, 3], [0, 12]) }, 10, /tensor a: data_offsets end at 12/],
    ["an offset beyond any integer", { a: entry("BF16", [2, 3], [0, 1e300]) }, 12, /tensor a: data_offsets\.1/],
    ["three offsets", { a: entry("BF16", [2, 3], [0, 12, 13]) }, 12, /tensor a: data_offsets/],
    ["no dtype", { a: { shape: [2, 3], data_offsets: [0, 12] } }, 12, /tensor a: dtype/],
    ["a field that the format does not have", { a: { ...a, device: "cuda" } }, 12, /tensor a/],
    ["an entry that is no object", { a: 7 }, 0, /tensor a/],
    ["overlapping tensors", { a, b: entry("U8", [4], [8, 12]) }, 12, /tensor b: its bytes overlap/],
    ["a hole", { a, b: entry("U8", [4], [14, 18]) }, 18, /tensor b: 2 bytes before it/],
    ["bytes after the last tensor", { a }, 13, /1 bytes at its end belong to no tensor/],
    ["metadata that is no text", { __metadata__: { format: 1 }, a }, 12, /tensor __metadata__/],
    ["a header that is no object", [], 0, /begin with \{/],
  ])("refuses %s", async (_name, header, dataBytes, message) => {
    await write(header, dataBytes);
    await expect(readSafetensorsHeader(path())).rejects.toMatchObject({
      name: "AppError",
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
      details: { file: "model.safetensors" },
    });
  });

  it.each([
    ["a name twice", `{"a":${JSON.stringify(a)},"\\u0061":${JSON.stringify(a)}}`, /"a" is given twice/],
    ["a field twice", '{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}', /"dtype" is given twice/],
    ["JSON that ends early", '{"a":', /not valid JSON/],
    ["deep nesting", `{"a":${"[".repeat(50_000)}${"]".repeat(50_000)}}`, /nested deeper than 8/],
  ])("refuses %s", async (_name, text, message) => {
    await writeRaw(text, 12);
    await expect(readSafetensorsHeader(path())).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  });

  it("does not take braces and quotes inside names for structure", async () => {
    await write({ '}]"\\{:': entry("U8", [1], [0, 1]) }, 1);
    expect((await readSafetensorsHeader(path())).tensors[0]?.name).toBe('}]"\\{:');
  });

  it.each([
    ["an empty file", Buffer.alloc(0), /0 bytes, too few/],
    ["a header longer than the file", Buffer.from([255, 0, 0, 0, 0, 0, 0, 0, 123]), /would be 255 bytes/],
    ["an absurd length", Buffer.from([255, 255, 255, 255, 255, 255, 255, 255, 123]), /would be 18446744073709551615 bytes/],
    ["a header that is not UTF-8", Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe]), /not valid UTF-8/],
  ])("refuses %s", async (_name, bytes, message) => {
    await writeFile(path(), bytes);
    await expect(readSafetensorsHeader(path())).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
  });

  it("says which file does not exist", async () => {
    await expect(readSafetensorsHeader(path("gone.safetensors"))).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringMatching(/gone\.safetensors/),
    });
  });
});

describe("readSafetensorsSet", () => {
  const first = "model-00000-of-00001.safetensors";
  const second = "model-00001-of-00001.safetensors";
  const index = (weightMap: object, totalSize?: number) =>
    writeFile(
      path("model.safetensors.index.json"),
      JSON.stringify({ metadata: { total_size: totalSize }, weight_map: weightMap }),
    );

  beforeEach(async () => {
    await write({ a }, 12, first);
    await write({ b: entry("U8", [4], [0, 4]) }, 4, second);
  });

  it("joins the files of an index", async () => {
    await index({ a: first, b: second }, 16);
    const set = await readSafetensorsSet(directory);
    expect([...set.tensors.values()].map((tensor) => [tensor.name, tensor.path])).toEqual([
      ["a", path(first)],
      ["b", path(second)],
    ]);
    expect(set.warnings).toEqual([]);
  });

  it("joins files without an index", async () => {
    expect([...(await readSafetensorsSet(directory)).tensors.keys()]).toEqual(["a", "b"]);
  });

  it("warns of a wrong total and of tensors that the index does not list", async () => {
    await write({ b: entry("U8", [4], [0, 4]), c: entry("U8", [1], [4, 5]) }, 5, second);
    await index({ a: first, b: second }, 99);
    expect((await readSafetensorsSet(directory)).warnings).toEqual([
      expect.stringMatching(/total_size is 99/),
      expect.stringMatching(/such as c/),
    ]);
  });

  it.each([
    [
      "a tensor that its file does not have",
      { a: first, b: first },
      "INVALID_ARGUMENT",
      /tensor b: model-00000-of-00001\.safetensors does not have it/,
    ],
    ["a file that does not exist", { a: first, b: "gone.safetensors" }, "NOT_FOUND", /gone\.safetensors does not exist/],
    ["a file elsewhere", { a: "../model.safetensors" }, "INVALID_ARGUMENT", /weight_map\.a: expected the plain name/],
    ["a file that is no text", { a: 1 }, "INVALID_ARGUMENT", /weight_map\.a/],
  ])("refuses an index naming %s", async (_name, weightMap, code, message) => {
    await index(weightMap);
    await expect(readSafetensorsSet(directory)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it("refuses a tensor that is in two files", async () => {
    await write({ a }, 12, second);
    await expect(readSafetensorsSet(directory)).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringMatching(/tensor a: another file/),
    });
  });

  it("refuses a directory without weights", async () => {
    await rm(path(first));
    await rm(path(second));
    await expect(readSafetensorsSet(directory)).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: expect.stringMatching(/neither/),
    });
  });
});
