import { buffer, text } from "node:stream/consumers";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { FileStore } from "../src/files/file-store.js";

export async function* pieces(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<string | Uint8Array> {
  yield* parts;
}

/** What every file store does. */
export function describeFileStore(open: () => FileStore): void {
  it("gives back every byte, however they came", async () => {
    const store = open();
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

  it("reads from any byte on", async () => {
    const store = open();
    await store.put("files/some", pieces("0123456789"));
    for (const from of [0, 1, 9]) expect(await text(await store.read("files/some", from))).toBe("0123456789".slice(from));
    for (const from of [10, 99]) expect(await text(await store.read("files/some", from))).toBe("");
    await expect(store.read("files/none", 5)).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("keeps long files whole, and texts beside bytes", async () => {
    const store = open();
    const chunk = Buffer.alloc(1_000_003, "long");
    const parts = [...Array.from({ length: 18 }, () => chunk), "é"];
    const whole = Buffer.concat(parts.map((part) => Buffer.from(part)));
    expect(await store.put("files/long", pieces(...parts))).toBe(whole.length);
    expect((await buffer(await store.read("files/long"))).equals(whole)).toBe(true);
  });

  it("keeps what was there when a source fails, early or late", async () => {
    const store = open();
    for (const length of [10, 9_000_000, 20_000_000]) {
      await store.put("files/kept", pieces("old"));
      async function* failing() {
        for (let at = 0; at < length; at += 1_000_000) yield Buffer.alloc(Math.min(length, 1_000_000));
        throw new Error("the client went away");
      }
      await expect(store.put("files/kept", failing())).rejects.toThrow("the client went away");
      expect(await text(await store.read("files/kept"))).toBe("old");
    }
  });

  it("removes files and folders, also those that are not there", async () => {
    const store = open();
    await store.put("batches/b/1", pieces("x"));
    await store.put("batches/b/2", pieces("x"));
    await store.put("batches/bc/1", pieces("y"));
    await store.removeFolder("batches/b");
    await store.removeFolder("batches/b");
    await store.remove("files/none");
    await expect(store.read("batches/b/1")).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await text(await store.read("batches/bc/1"))).toBe("y");
    await store.remove("batches/bc/1");
    await expect(store.read("batches/bc/1")).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
}
