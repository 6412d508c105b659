import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { AppError } from "@moiety/core";

/** Where set-up unpacks a private redis-server, in a checkout of the repository. */
const PRIVATE = fileURLToPath(new URL("../../../../.moiety/redis/bin/redis-server", import.meta.url));

/**
 * The redis-server to start: the one that MOIETY_REDIS_SERVER names, the one on PATH, or the one that set-up fetched.
 * @throws AppError FAILED_PRECONDITION when there is none.
 */
export function findRedisServer(environment: NodeJS.ProcessEnv): string {
  const named = environment["MOIETY_REDIS_SERVER"];
  if (named !== undefined && named !== "") {
    if (isExecutable(named)) return named;
    throw new AppError("FAILED_PRECONDITION", `MOIETY_REDIS_SERVER is ${named}, which is no program`);
  }
  const folders = (environment["PATH"] ?? "").split(delimiter);
  const found = [...folders.map((folder) => join(folder, "redis-server")), PRIVATE].find(isExecutable);
  if (found !== undefined) return found;
  const ways = "run `npm start` once, which fetches one; install Redis 6.2 or later; or name a running one with --redis-url";
  throw new AppError("FAILED_PRECONDITION", `there is no redis-server: ${ways}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
