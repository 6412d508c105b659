import { createHash } from "node:crypto";
import {
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint, writeRandomCheckpoint } from "@moiety/model";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { inspectCommand } from "../../packages/cli/src/commands/inspect.js";
import { runDownload } from "./download-script.js";
import { printed } from "./printed.js";
import { valuesFaults } from "./values-schema.js";

const root = mkdtempSync(join(tmpdir(), "moiety-download-values-"));
/** Of several files, with an index; and what no process reads. */
const checkpoint = join(root, "made");
const server: Server = createServer((request, response) => {
  createReadStream(join(root, request.url ?? ""))
    .on("error", () => response.writeHead(404).end())
    .pipe(response);
});
let origin = "";

beforeAll(async () => {
  await writeRandomCheckpoint({ out: checkpoint, maxShardBytes: 2_000_000 });
  writeFileSync(join(checkpoint, "README.md"), "not read");
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(root, { recursive: true, force: true });
});

const inspected = async (folder: string, url: string) => {
  const text = await printed(inspectCommand(), folder, "--download-from", url);
  return { text, values: parse(text) };
};

describe("moiety inspect --download-from", () => {
  it("gives values by which the chart's job loads a checkpoint that is the same", async () => {
    const { values } = await inspected(checkpoint, `${origin}/made/`);
    expect(valuesFaults(values)).toEqual([]);
    expect(values.model).toMatchObject({ name: "made", source: "download", download: { storage: "1Gi" } });
    const target = join(root, "target");
    expect(await runDownload({ list: values.model.download.files, folder: target })).toMatchObject({ code: 0 });
    const [given, loaded] = await Promise.all([openCheckpoint(checkpoint), openCheckpoint(target)]);
    expect(loaded.fingerprint).toBe(given.fingerprint);
    expect(loaded.files).toHaveLength(given.files.length);
    const expected = readdirSync(checkpoint).filter((name) => name !== "README.md");
    expect(expected).toEqual(
      expect.arrayContaining(["model.safetensors.index.json", "tokenizer.json", "generation_config.json"]),
    );
    expect(
      readdirSync(target)
        .filter((name) => !name.startsWith(".complete"))
        .sort(),
    ).toEqual(expected.sort());
    for (const name of expected)
      expect(readFileSync(join(target, name)).equals(readFileSync(join(checkpoint, name))), name).toBe(true);
  });

  it("names files of a release's original/ with their folder", async () => {
    const release = join(root, "release");
    await writeRandomCheckpoint({ out: release, layout: "original" });
    mkdirSync(join(release, "original"));
    for (const name of ["config.json", "model.safetensors"]) renameSync(join(release, name), join(release, "original", name));
    const { values } = await inspected(release, "s3://models/release");
    const files: { path: string; url: string; sha256: string }[] = values.model.download.files;
    expect(files.map(({ path }) => path)).toEqual(
      expect.arrayContaining(["original/config.json", "original/model.safetensors", "tokenizer.json"]),
    );
    for (const { path, url, sha256 } of files) {
      expect(url).toBe(`s3://models/release/${path}`);
      expect(sha256).toBe(
        createHash("sha256")
          .update(readFileSync(join(release, path)))
          .digest("hex"),
      );
    }
    expect(valuesFaults(values)).toEqual([]);
    await expect(inspected(join(release, "original"), "s3://models/release")).rejects.toThrow("give the folder above");
  });

  it("says in a comment what is loaded, and where the keys go", async () => {
    const { text, values } = await inspected(checkpoint, "https://models.example.org/made");
    const paths: string[] = values.model.download.files.map(({ path }: { readonly path: string }) => path);
    const bytes = paths.reduce((sum, path) => sum + statSync(join(checkpoint, path)).size, 0);
    const megabytes = (bytes / 1e6).toFixed(1);
    expect(text).toContain(`# made from https://models.example.org/made: ${paths.length} files, ${megabytes} MB,`);
    expect(text).toContain("model.download.authorizationSecretName");
    expect((await inspected(checkpoint, "s3://models/made")).text).toContain("model.download.s3");
  });

  it.each([
    ["ftp://models.example.org/made"],
    ["https://user:key@models.example.org/made"],
    ["https://models.example.org/made?signature=1"],
    ["https://"],
  ])("refuses %s", async (url) => {
    await expect(inspected(checkpoint, url)).rejects.toThrow("Expected a URL");
  });

  it("refuses a folder that is no checkpoint", async () => {
    await expect(inspected(root, "https://models.example.org")).rejects.toThrow("is not a checkpoint");
  });
});
