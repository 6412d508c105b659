// Loads the files of a checkpoint into a folder: node download.mjs <list.json> <folder> <id>. What is there is kept, what is there in part is
// gone on with, and every file has its checksum when it has its name. Ends with 1 and one line when a file could not be loaded: run it again.
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { mkdir, open, rename, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";

const STALL_MS = 60_000;
const [list, folder, id] = process.argv.slice(2);
const {
  MOIETY_DOWNLOAD_AUTHORIZATION: authorization,
  MOIETY_DOWNLOAD_S3_ENDPOINT: s3Endpoint,
  MOIETY_DOWNLOAD_S3_REGION: region = "auto",
  MOIETY_DOWNLOAD_S3_KEY_ID: accessKeyId = "",
  MOIETY_DOWNLOAD_S3_SECRET: secretAccessKey = "",
} = process.env;

const sizeOf = (path) =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

async function hashOf(path) {
  const hash = createHash("sha256");
  if (existsSync(path)) for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash;
}

/** Asks an S3-compatible store for s3://BUCKET/KEY, by the library that the gateway's image has. */
async function askStore(url, begin) {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(url) ?? [];
  if (bucket === undefined) throw new Error(`${url}: expected s3://BUCKET/KEY`);
  const { resolve } = createRequire(existsSync("/app/node_modules") ? "/app/" : import.meta.url);
  const { S3mini } = await import(pathToFileURL(resolve("s3mini")).href);
  const endpoint = `${s3Endpoint}/${bucket}`;
  const store = new S3mini({ accessKeyId, secretAccessKey, endpoint, region });
  try {
    const { body, status } = await store.getObjectRaw(key, begin === 0, begin);
    return { body, whole: status === 200 };
  } catch (error) {
    if (error.status === 416 && begin > 0) return { body: undefined, whole: false };
    throw new Error(`${url}: ${error.status ? `status ${error.status}` : error.message}`);
  }
}

/** Asks for what is missing of a file; whole: the server sends all of it anyway. */
async function ask(url, begin, signal) {
  if (url.startsWith("s3://")) return askStore(url, begin);
  const headers = { ...(authorization && { authorization }), ...(begin > 0 && { range: `bytes=${begin}-` }) };
  const response = await fetch(url, { headers, signal });
  if (response.status === 206) {
    const first = Number(response.headers.get("content-range")?.match(/^bytes (\d+)-/)?.[1]);
    if (first !== begin) throw new Error(`${url}: asked from byte ${begin}, got from ${first}`);
    return { body: response.body, whole: false };
  }
  // Nothing is missing: only the checksum has not been looked at.
  if (response.status === 416 && begin > 0) return { body: undefined, whole: false };
  if (response.status !== 200) throw new Error(`${url}: status ${response.status}`);
  return { body: response.body, whole: true };
}

async function append({ part, body, hash, signal, touch }) {
  const file = await open(part, "a");
  try {
    for await (const chunk of Readable.fromWeb(body, { signal })) {
      touch();
      hash.update(chunk);
      await file.appendFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

async function load({ path, url, sha256 }) {
  const target = join(folder, path);
  if (existsSync(target)) {
    if ((await hashOf(target)).digest("hex") === sha256) return console.log(`${path}: is there`);
    await rm(target);
  }
  const part = `${target}.part`;
  await mkdir(dirname(target), { recursive: true });
  const begin = await sizeOf(part);
  const stalled = new AbortController();
  const timer = setTimeout(() => stalled.abort(new Error(`${url}: nothing came for ${STALL_MS} ms`)), STALL_MS);
  try {
    const { body, whole } = await ask(url, begin, stalled.signal);
    if (whole) await rm(part, { force: true });
    const hash = await hashOf(part);
    if (body) await append({ part, body, hash, signal: stalled.signal, touch: () => timer.refresh() });
    if (hash.digest("hex") !== sha256) {
      await rm(part);
      throw new Error(`${path}: the checksum is wrong; it is loaded again`);
    }
  } finally {
    clearTimeout(timer);
  }
  await rename(part, target);
  console.log(`${path}: loaded${begin > 0 ? ` from byte ${begin} on` : ""}`);
}

try {
  const marker = join(folder, `.complete-${id}`);
  if (existsSync(marker)) console.log("all is there");
  else {
    for (const file of JSON.parse(readFileSync(list, "utf8"))) await load(file);
    await writeFile(marker, "");
  }
} catch (error) {
  console.error(error.cause?.message ? `${error.message}: ${error.cause.message}` : error.message);
  process.exit(1);
}
