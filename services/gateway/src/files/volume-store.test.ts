import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { VolumeStore } from "./volume-store.js";

let root: string;
let store: VolumeStore;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "moiety-files-"));
  store = await VolumeStore.open(join(root, "made", "for", "it"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function* pieces(...parts: readonly (string | Uint8Array)[]) {
  yield* parts;
}

describe("a volume of files", () => {
  it("gives back every byte, however they came", async () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(chunks, async (parts) => {
        const whole = Buffer.concat(parts);
        expect(await store.put("files/a", pieces(...parts))).toBe(whole.length);
        expect(await buffer(await store.read("files/a"))).toEqual(whole);
      }),
      { numRuns: 20 },
    );
  });

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

  it("removes files and folders, also those that are not there", async () => {
    await store.put("batches/b/1", pieces("x"));
    await store.put("batches/c/1", pieces("y"));
    await store.removeFolder("batches/b");
    await store.removeFolder("batches/b");
    await store.remove("files/none");
    await expect(store.read("batches/b/1")).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await text(await store.read("batches/c/1"))).toBe("y");
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
