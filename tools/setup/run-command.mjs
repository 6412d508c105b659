import { spawn } from "node:child_process";
import { delimiter, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT, StepError } from "./step.mjs";

/**
 * Runs `moiety` in this process, so that signals reach it directly, or another program as a child.
 * Both find the redis-server in MOIETY_REDIS_SERVER and on PATH.
 */
export async function runCommand([program, ...given], redisServer) {
  const folders = [join(ROOT, "node_modules", ".bin"), process.env.PATH ?? "", dirname(redisServer)];
  process.env.PATH = folders.join(delimiter);
  process.env.MOIETY_REDIS_SERVER = redisServer;
  if (program === "moiety") {
    const path = join(ROOT, "packages", "cli", "bin", "moiety.js");
    process.argv = [process.execPath, path, ...given];
    await import(pathToFileURL(path).href);
    return;
  }
  const child = spawn(program, given, { stdio: "inherit" });
  // A terminal sends Ctrl-C to the child as well; only what reaches this process alone is passed on.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  await new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new StepError(`cannot run ${program}: ${error.message}`)));
    child.once("exit", (code, signal) => {
      process.exitCode = code ?? 128 + (signal === "SIGINT" ? 2 : 15);
      resolve();
    });
  });
}
