import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { buffer } from "node:stream/consumers";

interface Answer {
  readonly status: number;
  readonly body?: string | Buffer;
  readonly etag?: string;
}

interface ObjectRequest {
  readonly query: URLSearchParams;
  readonly body: Buffer;
  readonly range: string | undefined;
}

const etagOf = (bytes: Buffer): string => `"${createHash("md5").update(bytes).digest("hex")}"`;
const xml = (body: string): Answer => ({ status: 200, body: `<?xml version="1.0" encoding="UTF-8"?>${body}` });

/** Stands where an S3-compatible store would: one bucket, in memory, with the requests that files need. */
export class ObjectServer {
  readonly objects = new Map<string, Buffer>();
  readonly uploads = new Map<string, Map<number, Buffer>>();
  /** Statuses that the next requests are answered with, instead of what they ask for. */
  readonly faults: number[] = [];
  readonly #server: Server;
  readonly #bucket: string;

  private constructor(bucket: string) {
    this.#bucket = `/${bucket}`;
    this.#server = createServer((request, response) => {
      this.#answer(request).then(({ status, body, etag }) => {
        response.writeHead(status, { "content-type": "application/xml", ...(etag === undefined ? {} : { etag }) }).end(body);
      });
    });
  }

  static async start(bucket: string): Promise<ObjectServer> {
    const server = new ObjectServer(bucket);
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get url(): string {
    const address = this.#server.address();
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}${this.#bucket}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const body = await buffer(request);
    const { pathname, searchParams } = new URL(request.url ?? "", "http://x");
    const fault = this.faults.shift();
    if (fault !== undefined) return { status: fault };
    if (!request.headers.authorization?.startsWith("AWS4-HMAC-SHA256 Credential=key-id/")) return { status: 403 };
    if (!pathname.startsWith(this.#bucket)) return { status: 404 };
    const key = decodeURIComponent(pathname.slice(this.#bucket.length + 1));
    if (key === "") return this.#ofBucket(searchParams, body);
    return this.#ofObject(`${request.method}`, key, { query: searchParams, body, range: request.headers.range });
  }

  #ofBucket(query: URLSearchParams, body: Buffer): Answer {
    if (query.has("delete")) {
      const keys = [...body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)].map((match) => match[1] ?? "");
      for (const key of keys) this.objects.delete(key);
      return xml(`<DeleteResult>${keys.map((key) => `<Deleted><Key>${key}</Key></Deleted>`).join("")}</DeleteResult>`);
    }
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(query.get("prefix") ?? "")).sort();
    const entries = keys.map((key) => `<Contents><Key>${key}</Key><Size>${this.objects.get(key)?.length}</Size></Contents>`);
    return xml(`<ListBucketResult><IsTruncated>false</IsTruncated>${entries.join("")}</ListBucketResult>`);
  }

  #ofObject(method: string, key: string, { query, body, range }: ObjectRequest): Answer {
    const uploadId = query.get("uploadId");
    if (query.has("uploads")) {
      const id = `upload-${this.uploads.size + 1}`;
      this.uploads.set(id, new Map());
      return xml(`<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
    }
    if (uploadId !== null) return this.#ofUpload(method, key, { uploadId, part: Number(query.get("partNumber")), body });
    if (method === "PUT") {
      this.objects.set(key, body);
      return { status: 200, etag: etagOf(body) };
    }
    if (method === "DELETE") {
      this.objects.delete(key);
      return { status: 204 };
    }
    const found = this.objects.get(key);
    if (found === undefined) return { status: 404 };
    if (range === undefined) return { status: 200, body: found };
    const from = Number(/^bytes=(\d+)-$/.exec(range)?.[1]);
    return from < found.length ? { status: 206, body: found.subarray(from) } : { status: 416 };
  }

  #ofUpload(method: string, key: string, { uploadId, part, body }: { uploadId: string; part: number; body: Buffer }): Answer {
    const parts = this.uploads.get(uploadId);
    if (parts === undefined) return { status: 404 };
    if (method === "PUT") {
      parts.set(part, body);
      return { status: 200, etag: etagOf(body) };
    }
    this.uploads.delete(uploadId);
    if (method === "DELETE") return { status: 204 };
    const numbers = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber>/g)].map((match) => Number(match[1]));
    const whole = Buffer.concat(numbers.map((number) => parts.get(number) ?? Buffer.alloc(0)));
    this.objects.set(key, whole);
    return xml(`<CompleteMultipartUploadResult><ETag>${etagOf(whole)}</ETag></CompleteMultipartUploadResult>`);
  }
}
