import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { AppError } from "@moiety/core";
import { S3mini } from "s3mini";
import type { FileStore } from "./file-store.js";

export interface ObjectStoreOptions {
  /** Of the bucket, its name last: `https://s3.eu-central-1.amazonaws.com/moiety`. */
  readonly url: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** S3 takes no smaller parts but the last, and at most 10,000 of them. */
const PART_BYTES = 8_388_608;
/** What S3 answers when a range begins after the last byte. */
const PAST_THE_END = 416;

/** Files in a bucket of an S3-compatible store. What is longer than a part is uploaded in parts, and is there once the last of them is. */
export class ObjectStore implements FileStore {
  readonly #bucket: S3mini;

  constructor({ url, ...options }: ObjectStoreOptions) {
    this.#bucket = new S3mini({ ...options, endpoint: url });
  }

  async put(name: string, source: AsyncIterable<Uint8Array | string>): Promise<number> {
    const parts = inParts(source);
    const first = await parts.next();
    if (first.done) {
      await asked(this.#bucket.putObject(name, new Uint8Array(0)));
      return 0;
    }
    const second = await parts.next();
    if (second.done) {
      await asked(this.#bucket.putObject(name, first.value));
      return first.value.length;
    }
    return this.#putParts(name, joined([first.value, second.value], parts));
  }

  async read(name: string, fromByte = 0): Promise<Readable> {
    const answer = await asked(fromByte === 0 ? this.#bucket.getObjectResponse(name) : this.#readFrom(name, fromByte));
    if (answer === null) throw new AppError("NOT_FOUND", "there is no such file");
    return answer.body === null ? Readable.from([]) : Readable.fromWeb(answer.body as ReadableStream);
  }

  async remove(name: string): Promise<void> {
    await asked(this.#bucket.deleteObject(name));
  }

  async removeFolder(folder: string): Promise<void> {
    const found = (await asked(this.#bucket.listObjects("/", `${folder}/`))) ?? [];
    const removed = await asked(this.#bucket.deleteObjects(found.map((object) => object.Key)));
    if (removed.includes(false)) throw new AppError("UNAVAILABLE", "the object store removed less than it was asked to");
  }

  /** Nothing: a rule of the bucket's own ends uploads that nobody completes. */
  async tidy(): Promise<void> {}

  async #readFrom(name: string, fromByte: number): Promise<Response> {
    try {
      return await this.#bucket.getObjectRaw(name, false, fromByte);
    } catch (error) {
      if ((error as { status?: unknown }).status === PAST_THE_END) return new Response(null);
      throw error;
    }
  }

  async #putParts(name: string, parts: AsyncIterable<Uint8Array>): Promise<number> {
    const uploadId = await asked(this.#bucket.getMultipartUploadId(name));
    try {
      const stored: { partNumber: number; etag: string }[] = [];
      let bytes = 0;
      for await (const part of parts) {
        stored.push(await asked(this.#bucket.uploadPart(name, uploadId, part, stored.length + 1)));
        bytes += part.length;
      }
      // A store may say 200 and then think better of it.
      const { etag } = await asked(this.#bucket.completeMultipartUpload(name, uploadId, stored));
      if (typeof etag !== "string") throw new AppError("UNAVAILABLE", "the object store did not complete an upload");
      return bytes;
    } catch (error) {
      await this.#bucket.abortMultipartUpload(name, uploadId).catch(() => undefined);
      throw error;
    }
  }
}

async function asked<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const { status } = error as { status?: unknown };
    if (status === 404) throw new AppError("NOT_FOUND", "there is no such file", { cause: error });
    const why = typeof status === "number" ? `status ${status}` : "it cannot be reached";
    throw new AppError("UNAVAILABLE", `the object store failed: ${why}`, { cause: error });
  }
}

/** Cuts a stream into parts of one size, but for the last. */
async function* inParts(source: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of source) {
    let rest: Uint8Array = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    while (length + rest.length >= PART_BYTES) {
      const fits = PART_BYTES - length;
      yield Buffer.concat([...pieces, rest.subarray(0, fits)]);
      [pieces, length] = [[], 0];
      rest = rest.subarray(fits);
    }
    pieces.push(rest);
    length += rest.length;
  }
  if (length > 0) yield Buffer.concat(pieces);
}

async function* joined<T>(head: readonly T[], tail: AsyncIterable<T>): AsyncGenerator<T> {
  yield* head;
  yield* tail;
}
