import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runDownload } from "./download-script.js";

const CONTENT = randomBytes(300_000);
const SHA256 = createHash("sha256").update(CONTENT).digest("hex");

describe("the download of a model", () => {
  let folder: string;
  let server: Server;
  let origin: string;
  let asked: string[];
  /** How many bytes the server sends before it cuts the line. */
  let sendBytes: number;
  let knowsRanges: boolean;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "moiety-download-"));
    asked = [];
    sendBytes = Number.POSITIVE_INFINITY;
    knowsRanges = true;
    server = createServer((request, response) => {
      asked.push(`${request.headers.range ?? "whole"} ${request.headers.authorization ?? "nobody"}`);
      const begin = knowsRanges ? Number(request.headers.range?.match(/\d+/)?.[0] ?? 0) : 0;
      if (begin >= CONTENT.length) return response.writeHead(416).end();
      const length = CONTENT.length - begin;
      const range = begin > 0 ? { "content-range": `bytes ${begin}-${CONTENT.length - 1}/${CONTENT.length}` } : {};
      response.writeHead(begin > 0 ? 206 : 200, { "content-length": length, ...range });
      if (length <= sendBytes) return response.end(CONTENT.subarray(begin));
      return response.write(CONTENT.subarray(begin, begin + sendBytes), () => setTimeout(() => response.destroy(), 200));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });

  interface Asked {
    readonly sha256?: string;
    readonly url?: string;
    readonly authorization?: string;
    readonly more?: Readonly<Record<string, string>>;
  }

  async function download({ sha256 = SHA256, url = `${origin}/weights`, authorization = "", more = {} }: Asked = {}) {
    const env = { MOIETY_DOWNLOAD_AUTHORIZATION: authorization, ...more };
    return runDownload({ list: [{ path: "part/weights.bin", url, sha256 }], folder: join(folder, "model"), env });
  }
  const file = (name: string) => join(folder, "model", name);

  it("has every file with its checksum, and marks the folder when it has all", async () => {
    expect(await download({ authorization: "Bearer x" })).toMatchObject({ code: 0 });
    expect(readFileSync(file("part/weights.bin")).equals(CONTENT)).toBe(true);
    expect(existsSync(file(".complete-id"))).toBe(true);
    expect(asked).toEqual(["whole Bearer x"]);
    expect(await download()).toMatchObject({ code: 0, text: "all is there\n" });
    expect(asked).toHaveLength(1);
  });

  it("goes on where a broken line stopped it", async () => {
    sendBytes = 100_000;
    expect(await download()).toMatchObject({ code: 1 });
    expect(existsSync(file(".complete-id"))).toBe(false);
    sendBytes = Number.POSITIVE_INFINITY;
    expect(await download()).toMatchObject({ code: 0, text: "part/weights.bin: loaded from byte 100000 on\n" });
    expect(asked).toEqual(["whole nobody", "bytes=100000- nobody"]);
    expect(readFileSync(file("part/weights.bin")).equals(CONTENT)).toBe(true);
  });

  it("asks a bucket with a signature, and goes on there as well", async () => {
    const store = { MOIETY_DOWNLOAD_S3_ENDPOINT: origin, MOIETY_DOWNLOAD_S3_KEY_ID: "id", MOIETY_DOWNLOAD_S3_SECRET: "key" };
    sendBytes = 100_000;
    expect(await download({ url: "s3://models/weights", more: store })).toMatchObject({ code: 1 });
    sendBytes = Number.POSITIVE_INFINITY;
    const { code, text } = await download({ url: "s3://models/weights", more: store });
    expect([code, text]).toEqual([0, "part/weights.bin: loaded from byte 100000 on\n"]);
    expect(asked.map((line) => line.replace(/\/\d{8}\/.*/, ""))).toEqual([
      "whole AWS4-HMAC-SHA256 Credential=id",
      "bytes=100000- AWS4-HMAC-SHA256 Credential=id",
    ]);
    expect(readFileSync(file("part/weights.bin")).equals(CONTENT)).toBe(true);
  });

  it("begins again with a server that knows no ranges", async () => {
    knowsRanges = false;
    mkdirSync(file("part"), { recursive: true });
    writeFileSync(file("part/weights.bin.part"), CONTENT.subarray(0, 1_000));
    expect(await download()).toMatchObject({ code: 0 });
    expect(readFileSync(file("part/weights.bin")).equals(CONTENT)).toBe(true);
  });

  it("looks at what is there, whole or without its name", async () => {
    mkdirSync(file("part"), { recursive: true });
    writeFileSync(file("part/weights.bin.part"), CONTENT);
    expect(await download()).toMatchObject({ code: 0 });
    writeFileSync(file("part/weights.bin"), "damaged");
    rmSync(file(".complete-id"));
    expect(await download()).toMatchObject({ code: 0 });
    expect(readFileSync(file("part/weights.bin")).equals(CONTENT)).toBe(true);
  });

  it("keeps nothing whose checksum is wrong, and says so", async () => {
    const { code, text } = await download({ sha256: "0".repeat(64) });
    expect(code).toBe(1);
    expect(text).toContain("part/weights.bin: the checksum is wrong");
    expect(existsSync(file("part/weights.bin"))).toBe(false);
    expect(existsSync(file("part/weights.bin.part"))).toBe(false);
    expect(existsSync(file(".complete-id"))).toBe(false);
  });
});
