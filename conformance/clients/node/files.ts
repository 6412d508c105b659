import OpenAI, { toFile } from "openai";
import { describe, expect, it } from "vitest";
import { collect, faultOf, type Use } from "./use.js";

export function fileFeatures(use: () => Use): void {
  const upload = async (text: string, purpose: OpenAI.FilePurpose = "user_data") =>
    use().client.files.create({ file: await toFile(Buffer.from(text), "notes ü.txt"), purpose });

  describe("client.files", () => {
    it("create, retrieve, content: what was uploaded comes back", async () => {
      const { files } = use().client;
      const created = await upload("grüße\n");
      expect(created).toMatchObject({
        object: "file",
        bytes: 8,
        filename: "notes ü.txt",
        purpose: "user_data",
        status: "processed",
      });
      expect(await files.retrieve(created.id)).toEqual(created);
      const content = await files.content(created.id);
      expect(await content.text()).toBe("grüße\n");
      expect((await files.waitForProcessing(created.id)).status).toBe("processed");
    });

    it("create: of a File, and with a time to go at", async () => {
      const file = new File(["abc"], "a.txt");
      const created = await use().client.files.create({
        file,
        purpose: "user_data",
        expires_after: { anchor: "created_at", seconds: 3_600 },
      });
      expect(created.bytes).toBe(3);
      expect(created.expires_at).toBe(created.created_at + 3_600);
    });

    it("list: by purpose and order, page by page", async () => {
      const ids = [await upload("1", "evals"), await upload("2", "evals"), await upload("3", "evals")].map(({ id }) => id);
      const { files } = use().client;
      const newest = await collect(files.list({ purpose: "evals", limit: 2 }));
      expect(newest.map(({ id }) => id).slice(0, 3)).toEqual(ids.toReversed());
      const page = await files.list({ purpose: "evals", limit: 1, order: "asc" });
      expect(page.hasNextPage()).toBe(true);
      expect((await page.getNextPage()).data).toHaveLength(1);
    });

    it("delete: it is gone", async () => {
      const { id } = await upload("x");
      expect(await use().client.files.delete(id)).toEqual({ id, object: "file", deleted: true });
      await faultOf(OpenAI.NotFoundError, use().client.files.content(id));
    });

    it("create: a purpose that nobody knows is a BadRequestError", async () => {
      const fault = await faultOf(OpenAI.BadRequestError, upload("x", "nothing" as OpenAI.FilePurpose));
      expect(fault.param).toBe("purpose");
    });
  });
}
