import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { harmonyTokenId, makeBytesTokenizer, openTokenizer, type Tokenizer } from "@moiety/model";
import { RedisServer } from "../../../packages/queue/test/redis-server.js";
import { type Gateway, serveGateway } from "../src/index.js";
import { ScriptedWorker } from "./scripted-worker.js";

const GOLDEN = new URL("../../../packages/testing/fixtures/golden/ckpt/A/config.json", import.meta.url);
export const VOCABULARY = 512;

/** `harmony`: bytes, and harmony's markup. `plain`: bytes alone. `none`: no tokenizer. */
export type TokenizerKind = "harmony" | "plain" | "none";

export interface JsonAnswer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly body: any;
}

async function writeCheckpoint(kind: TokenizerKind): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "moiety-gateway-"));
  await cp(GOLDEN, join(directory, "config.json"));
  if (kind === "none") return directory;
  const config = JSON.parse(await readFile(GOLDEN, "utf8"));
  const eos = (["<|return|>", "<|call|>"] as const).map((token) => harmonyTokenId(token, VOCABULARY));
  await writeFile(join(directory, "config.json"), JSON.stringify({ ...config, eos_token_id: eos }));
  const text = JSON.stringify(makeBytesTokenizer(VOCABULARY));
  await writeFile(
    join(directory, "tokenizer.json"),
    kind === "harmony" ? text : text.replaceAll("<|", "<<").replaceAll("|>", ">>"),
  );
  return directory;
}

/** A gateway, a Redis and a scripted worker, all real. */
export class GatewayFixture {
  readonly gateway: Gateway;
  readonly worker: ScriptedWorker;
  readonly redis: RedisServer;
  readonly url: string;
  /** What another gateway over the same Redis is told. */
  readonly environment: Readonly<Record<string, string>>;
  readonly #directory: string;
  readonly #tokenizer: Tokenizer | undefined;

  private constructor(parts: {
    gateway: Gateway;
    worker: ScriptedWorker;
    redis: RedisServer;
    directory: string;
    environment: Readonly<Record<string, string>>;
    tokenizer: Tokenizer | undefined;
  }) {
    this.gateway = parts.gateway;
    this.worker = parts.worker;
    this.redis = parts.redis;
    this.url = `http://127.0.0.1:${parts.gateway.port}`;
    this.environment = parts.environment;
    this.#directory = parts.directory;
    this.#tokenizer = parts.tokenizer;
  }

  static async start(
    kind: TokenizerKind,
    environment: Readonly<Record<string, string>> = {},
    worker: { readonly capacity?: number } = {},
  ): Promise<GatewayFixture> {
    const redis = await RedisServer.start();
    const directory = await writeCheckpoint(kind);
    const scripted = await ScriptedWorker.start({ redisUrl: redis.url, prefix: "moiety", ...worker });
    const all = {
      MOIETY_HTTP_PORT: "0",
      MOIETY_LOG_LEVEL: "silent",
      MOIETY_MODEL: directory,
      MOIETY_MODEL_NAME: "tiny",
      MOIETY_REDIS_URL: redis.url,
      ...environment,
    };
    const gateway = await serveGateway(all);
    // The process has one; the gateway refreshes what it knows of workers in the background.
    const tokenizer = kind === "none" ? undefined : await openTokenizer(join(directory, "tokenizer.json"));
    return new GatewayFixture({ gateway, worker: scripted, redis, directory, environment: all, tokenizer });
  }

  /** Another gateway of the same cluster; whoever starts it closes it. */
  startAnother(): Promise<Gateway> {
    return serveGateway(this.environment);
  }

  async close(): Promise<void> {
    try {
      await Promise.all([this.gateway.close(), this.worker.close()]);
    } finally {
      await this.redis.stop();
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  get tokenizer(): Tokenizer {
    if (!this.#tokenizer) throw new Error("there is no tokenizer");
    return this.#tokenizer;
  }

  /** Token ids of text in which markup is markup. */
  async ids(text: string): Promise<number[]> {
    return [...(await this.tokenizer.encode(text, { allowSpecial: true }))];
  }

  async request(path: string, init: RequestInit = {}): Promise<JsonAnswer> {
    const response = await fetch(this.url + path, init);
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === "" ? undefined : parse(text) };
  }

  post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<JsonAnswer> {
    const init = { method: "POST", headers: { "content-type": "application/json", ...headers } };
    return this.request(path, { ...init, body: typeof body === "string" ? body : JSON.stringify(body) });
  }

  /** The events of a stream, without `[DONE]`, which must be last. */
  // biome-ignore lint/suspicious/noExplicitAny: as above
  async stream(path: string, body: object): Promise<any[]> {
    const response = await fetch(this.url + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...body, stream: true }),
    });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${response.status}: ${text}`);
    const events = text.split("\n\n").filter((event) => event.startsWith("data: "));
    if (events.at(-1) !== "data: [DONE]") throw new Error("the stream does not end in [DONE]");
    return events.slice(0, -1).map((event) => JSON.parse(event.slice(6)));
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
