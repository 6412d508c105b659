import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { describeFileStore, pieces } from "../../test/file-store-suite.js";
import { ObjectServer } from "../../test/object-server.js";
import { ObjectStore } from "./object-store.js";

let server: ObjectServer;
let store: ObjectStore;
beforeAll(async () => {
  server = await ObjectServer.start("moiety");
  store = new ObjectStore({ url: server.url, region: "auto", accessKeyId: "key-id", secretAccessKey: "secret" });
});
afterAll(() => server.close());

describe("a bucket of files", () => {
  describeFileStore(() => store);

  it("leaves no part of an upload that failed", () => {
    expect([...server.uploads.keys()]).toEqual([]);
  });

  it("says that it failed, and not as what", async () => {
    server.faults.push(500);
    await expect(store.put("files/x", pieces("x"))).rejects.toMatchObject({ code: "UNAVAILABLE" });
    server.faults.push(403);
    await expect(store.read("files/x")).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("403") });
    const nowhere = new ObjectStore({ url: "http://127.0.0.1:9/b", region: "auto", accessKeyId: "k", secretAccessKey: "s" });
    await expect(nowhere.remove("files/x")).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });
});
