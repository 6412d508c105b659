import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free-port.js";
import { ManagedProcess } from "./managed-process.js";
import { waitUntil } from "./wait-until.js";

export interface RedisOptions {
  /** Where its append-only file lies; absent: a temporary directory, removed by `close`. */
  readonly dir?: string;
  /** `always`: nothing acknowledged is lost, even by a crash of the machine. */
  readonly fsync?: "always" | "everysec";
}

export interface RedisHandle {
  readonly url: string;
  readonly port: number;
  readonly process: ManagedProcess;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again on the same port over the same directory, killing it first if need be, and waits until it answers. */
  restart(): Promise<void>;
  /** Ends it, and removes a directory that was temporary. */
  close(): Promise<void>;
}

/** Starts a real redis-server, of MOIETY_REDIS_SERVER or PATH, with an append-only file, and waits until it answers. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisHandle> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), "moiety-redis-")));
  const port = await freePort();
  const redis = new ManagedProcess({
    name: "redis",
    file: process.env["MOIETY_REDIS_SERVER"] ?? "redis-server",
    args: redisArguments(port, dir, options.fsync ?? "everysec"),
    env: {},
  });
  const start = async () => {
    redis.start();
    const hopes = { timeoutMs: 15_000, describe: () => redis.describe(), hopeless: () => !redis.isAlive };
    await waitUntil("redis answers PING", async () => (await ping(port)) === "+PONG", hopes);
  };
  const close = async () => {
    await redis.kill();
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
  };
  const restart = async () => {
    await redis.kill();
    await start();
  };
  try {
    await start();
  } catch (error) {
    await close();
    throw error;
  }
  return { url: `redis://127.0.0.1:${port}`, port, process: redis, kill: () => redis.kill(), restart, close };
}

function redisArguments(port: number, dir: string, fsync: string): string[] {
  const network = ["--port", String(port), "--bind", "127.0.0.1"];
  return [
    ...network,
    "--dir",
    dir,
    "--save",
    "",
    "--appendonly",
    "yes",
    "--appendfsync",
    fsync,
    "--maxmemory-policy",
    "noeviction",
  ];
}

/** The first line of the answer to PING; empty when there is none within a second. */
function ping(port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    const settle = (line: string) => {
      socket.destroy();
      resolve(line);
    };
    socket.setTimeout(1_000, () => settle(""));
    socket.setEncoding("utf8");
    socket.once("data", (chunk: string) => settle(chunk.trim()));
    socket.once("error", () => settle(""));
    socket.once("close", () => settle(""));
  });
}
