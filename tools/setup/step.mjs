import { spawn } from "node:child_process";
import { accessSync, closeSync, constants, mkdirSync, openSync, readFileSync } from "node:fs";
import { delimiter, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What set-up makes lies here, as does a cluster's data. */
export const STATE = join(ROOT, ".moiety");

/** A step that failed for a reason that the user can act on. */
export class StepError extends Error {}

/** Runs a step and says when it begins, and how it ended and after how long. Others may run meanwhile. */
export async function step(title, work) {
  const begun = performance.now();
  const tell = (how) => process.stderr.write(`setup: ${title}: ${how}\n`);
  tell("begun");
  try {
    const result = await work();
    tell(`done (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
    return result;
  } catch (error) {
    tell("failed");
    throw error;
  }
}

/**
 * Runs a program with its output in a log.
 * @throws StepError that names the log, its last lines and what to do.
 */
export async function runLogged({
  name,
  command,
  label = command.join(" "),
  advice,
  append = false,
  cwd = ROOT,
  env = process.env,
}) {
  mkdirSync(join(STATE, "logs"), { recursive: true });
  const log = join(STATE, "logs", `setup-${name}.log`);
  const file = openSync(log, append ? "a" : "w");
  const [program, ...given] = command;
  const outcome = await new Promise((resolve) => {
    const child = spawn(program, given, { cwd, env, stdio: ["ignore", file, file] });
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => resolve(code === 0 ? undefined : `ended with ${signal ?? `exit code ${code}`}`));
  });
  closeSync(file);
  if (outcome === undefined) return;
  const tail = readFileSync(log, "utf8").trimEnd().split("\n").slice(-8).join("\n  ");
  const lines = [
    `"${label}" ${outcome}`,
    tail,
    `log: ${relative(process.cwd(), log)}`,
    ...(advice === undefined ? [] : [advice]),
  ];
  throw new StepError(lines.join("\n  "));
}

/** The path of a program on PATH; undefined when there is none. */
export function findProgram(name) {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here: the next folder may have it.
    }
  }
  return undefined;
}
