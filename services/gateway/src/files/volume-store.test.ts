import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeFileStore, pieces } from "../../test/file-store-suite.js";
import { VolumeStore } from "./volume-store.js";

let root: string;
let store: VolumeStore;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "moiety-files-"));
  store = await VolumeStore.open(join(root, "made", "for", "it"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe("a volume of files", () => {
  describeFileStore(() => store);

  it("keeps what was there, and no draft, when a source fails", async () => {
    await store.put("files/kept", pieces("old"));
    async function* failing() {
      yield "new";
      throw new Error("the client went away");
    }
    await expect(store.put("files/kept", failing())).rejects.toThrow("the client went away");
    expect(await text(await store.read("files/kept"))).toBe("old");
    expect(await readdir(join(root, "made/for/it/incoming"))).toEqual([]);
  });

  it("removes old drafts only", async () => {
    const incoming = join(root, "made/for/it/incoming");
    await writeFile(join(incoming, "old"), "");
    await writeFile(join(incoming, "new"), "");
    const nowMs = Date.now();
    await utimes(join(incoming, "old"), nowMs / 1_000 - 90_000, nowMs / 1_000 - 90_000);
    await store.tidy(nowMs);
    expect(await readdir(incoming)).toEqual(["new"]);
  });

  it("says so when its folder cannot be written", async () => {
    await writeFile(join(root, "file"), "");
    await expect(VolumeStore.open(join(root, "file"))).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining("MOIETY_FILES_DIR"),
    });
  });

  it.each(["../x", "a/../../x", "/etc/x", ".hidden", "a//b", "incoming/x", ""])("refuses the name %j", async (name) => {
    await expect(store.put(name, pieces("x"))).rejects.toThrow("leads nowhere else");
  });
});
