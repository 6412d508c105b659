import { mkdtemp, readdir, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { APIError, toFile } from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../../../packages/queue/test/redis-server.js";
import { BatchClient } from "./batch-client.js";
import { GatewayFixture } from "./gateway-fixture.js";

let fixture: GatewayFixture;
let directory: string;
let alice: BatchClient;
let bob: BatchClient;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "moiety-files-"));
  fixture = await GatewayFixture.start("none", {
    MOIETY_FILES_DIR: directory,
    MOIETY_MAX_FILE_BYTES: "5000",
    MOIETY_API_KEYS: "alice:key-of-alice,bob:key-of-bob",
  });
  alice = new BatchClient(fixture.url, "key-of-alice");
  bob = new BatchClient(fixture.url, "key-of-bob");
});
afterAll(async () => {
  await fixture.close();
  await rm(directory, { recursive: true, force: true });
});

const failure = async (work: PromiseLike<unknown>): Promise<APIError> => {
  const error = await Promise.resolve(work).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof APIError)) throw new Error(`expected an error of the API, got ${String(error)}`);
  return error;
};
const authorization = "Bearer key-of-alice";

describe("/v1/files", () => {
  it("keeps a file byte for byte, and tells about it", async () => {
    const bytes = Buffer.from([0, 255, 10, 13, 0xe2, 0x82, 0xac]);
    const file = await alice.openai.files.create({ file: await toFile(bytes, 'a "b"\n/é.jsonl'), purpose: "batch" });
    expect(file).toMatchObject({ object: "file", bytes: 7, purpose: "batch", status: "processed" });
    expect(file.id).toMatch(/^file-[0-9a-f]{24}$/);
    expect((file.expires_at ?? 0) - file.created_at).toBe(30 * 86_400);
    expect(await alice.openai.files.retrieve(file.id)).toEqual(file);
    const content = await alice.openai.files.content(file.id);
    expect(Buffer.from(await content.arrayBuffer())).toEqual(bytes);
    expect(content.headers.get("content-length")).toBe("7");
    await alice.openai.files.delete(file.id);
  });

  it("keeps an empty file, and lets go of it", async () => {
    const file = await alice.openai.files.create({ file: await toFile(Buffer.alloc(0), "empty"), purpose: "user_data" });
    expect(file.bytes).toBe(0);
    expect(await (await alice.openai.files.content(file.id)).text()).toBe("");
    expect(await alice.openai.files.delete(file.id)).toMatchObject({ deleted: true });
    expect((await failure(alice.openai.files.retrieve(file.id))).status).toBe(404);
  });

  it("says which methods a path has", async () => {
    const { status, headers, body } = await fixture.request("/v1/files", { method: "PATCH", headers: { authorization } });
    expect([status, headers.get("allow"), body.error.code]).toEqual([405, "GET, POST", "method_not_allowed"]);
  });

  it("lets a file say when it goes, and keeps others for good", async () => {
    const upload = async (more: object) =>
      alice.openai.files.create({ file: await toFile(Buffer.from("x"), "x"), purpose: "user_data", ...more });
    const expiring = await upload({ expires_after: { anchor: "created_at", seconds: 3_600 } });
    expect((expiring.expires_at ?? 0) - expiring.created_at).toBe(3_600);
    const kept = await upload({});
    expect(kept).not.toHaveProperty("expires_at");
    expect(await failure(upload({ expires_after: { anchor: "created_at", seconds: 10 } }))).toMatchObject({
      status: 400,
      param: "expires_after.seconds",
    });
    for (const { id } of [expiring, kept]) await alice.openai.files.delete(id);
  });

  it("lists a tenant's own files alone, page by page", async () => {
    const ids = [];
    for (let count = 0; count < 5; count++) ids.push(await alice.upload(["{}"]));
    await bob.upload(["{}"], "user_data");
    const found: string[] = [];
    for await (const file of alice.openai.files.list({ limit: 2, order: "asc" })) found.push(file.id);
    expect(found).toEqual(ids);
    const newest = await alice.openai.files.list({ limit: 1 });
    expect(newest.data.map(({ id }) => id)).toEqual(ids.slice(-1));
    expect((await bob.openai.files.list({ purpose: "batch" })).data).toEqual([]);
    expect(await failure(alice.openai.files.list({ after: "file-000000000000000000000000" }))).toMatchObject({ param: "after" });
    expect(await failure(alice.openai.files.list({ limit: 0 }))).toMatchObject({ status: 400, param: "limit" });
    for (const id of ids) await alice.openai.files.delete(id);
  });

  it("forgets a file that was deleted, and knows nobody else's", async () => {
    const id = await alice.upload(["{}"]);
    for (const work of [
      () => bob.openai.files.retrieve(id),
      () => bob.openai.files.content(id),
      () => bob.openai.files.delete(id),
    ]) {
      expect(await failure(work())).toMatchObject({ status: 404 });
    }
    expect(await alice.openai.files.delete(id)).toEqual({ id, object: "file", deleted: true });
    expect(await failure(alice.openai.files.content(id))).toMatchObject({ status: 404 });
    expect(await failure(alice.openai.files.retrieve("../../etc/passwd"))).toMatchObject({ status: 404 });
    expect((await readdir(join(directory, "files"))).includes(id)).toBe(false);
  });

  it("refuses what it cannot take, and keeps nothing of it", async () => {
    const upload = (parts: Record<string, string | Blob>) => {
      const form = new FormData();
      for (const [name, value] of Object.entries(parts)) form.append(name, value);
      return fixture.request("/v1/files", { method: "POST", headers: { authorization }, body: form });
    };
    const before = await readdir(join(directory, "files"));
    const file = new Blob(["{}"]);
    const shape = (status: number, param: string) => ({ status, body: { error: { param, type: "invalid_request_error" } } });
    expect(await upload({ file, purpose: "nothing" })).toMatchObject(shape(400, "purpose"));
    expect(await upload({ file })).toMatchObject(shape(400, "purpose"));
    expect(await upload({ purpose: "batch" })).toMatchObject(shape(400, "file"));
    expect(await upload({ other: file, purpose: "batch" })).toMatchObject(shape(400, "file"));
    expect(await upload({ file: new Blob(["x".repeat(5_001)]), purpose: "batch" })).toMatchObject(shape(413, "file"));
    const malformed = ['--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\nno end', "", "x"];
    for (const body of malformed) {
      const headers = { authorization, "content-type": "multipart/form-data; boundary=b" };
      expect([body, (await fixture.request("/v1/files", { method: "POST", headers, body })).status]).toEqual([body, 400]);
    }
    const unbounded = { authorization, "content-type": "multipart/form-data" };
    expect(await fixture.post("/v1/files", "x", unbounded)).toMatchObject({ status: 400 });
    expect(await upload({ file, purpose: "batch", toString: "x" })).toMatchObject({ status: 400 });
    const json = { "content-type": "application/json", authorization };
    expect(await fixture.post("/v1/files", {}, json)).toMatchObject({ status: 415 });
    expect(await fixture.request("/v1/files", { method: "POST" })).toMatchObject({ status: 401 });
    expect(await readdir(join(directory, "files"))).toEqual(before);
    expect(await upload({ file: new Blob(["x".repeat(5_000)]), purpose: "batch" })).toMatchObject({ status: 200 });
  });

  it("keeps nothing of an upload that is broken off", async () => {
    const before = await readdir(join(directory, "files"));
    const socket = connect(fixture.gateway.port, "127.0.0.1");
    const head = ["POST /v1/files HTTP/1.1", "host: x", `authorization: ${authorization}`, "content-length: 4000"];
    socket.write(`${head.join("\r\n")}\r\ncontent-type: multipart/form-data; boundary=b\r\n\r\n`);
    socket.write('--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\nhalf of it');
    await until(async () => (await readdir(join(directory, "incoming"))).length > 0);
    socket.destroy();
    await until(async () => (await readdir(join(directory, "incoming"))).length === 0);
    expect(await readdir(join(directory, "files"))).toEqual(before);
  });

  it("names the methods that a path has", async () => {
    const put = await fixture.request("/v1/files", { method: "PUT", headers: { authorization } });
    expect(put).toMatchObject({ status: 405, body: { error: { code: "method_not_allowed" } } });
    expect(put.headers.get("allow")).toBe("GET, POST");
  });
});
