import { spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where checks keep what they fetch, and what they find. */
export const WORK = fileURLToPath(new URL("../.moiety/conformance/", import.meta.url));
/** Where `preparedPython` puts an interpreter. */
export const OWN_PYTHON = join(WORK, "python", "bin", "python");
const REQUIREMENTS = fileURLToPath(new URL("requirements.txt", import.meta.url));

/**
 * Runs a program to its end; its output goes to this one's, or to a file.
 *
 * @param {readonly string[]} command
 * @param {{ cwd?: string, env?: Readonly<Record<string, string>>, log?: string }} options
 * @returns {Promise<number>} its exit status
 */
export function run([program, ...given], { cwd, env = {}, log } = {}) {
  const output = log === undefined ? "inherit" : openSync(log, "a");
  const child = spawn(program, given, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", output, output] });
  return new Promise((resolve, reject) => {
    child.once("error", (error) => reject(new Error(`cannot run ${program}: ${error.message}`)));
    child.once("exit", (code, signal) => resolve(code ?? (signal === null ? 1 : 128)));
  });
}

/** As `run`, where anything but success is a fault. */
export async function mustRun(command, options = {}) {
  const status = await run(command, options);
  if (status === 0) return;
  const said = options.log === undefined ? "" : `:\n${readFileSync(options.log, "utf8").slice(-3_000)}`;
  throw new Error(`${command.slice(0, 3).join(" ")} failed with ${status}${said}`);
}

/** A Python that has what `requirements.txt` lists: the one that MOIETY_PYTHON names, or one of our own. */
export async function preparedPython() {
  const named = process.env.MOIETY_PYTHON;
  if (named) return named;
  const stamp = join(WORK, "python", "requirements.txt");
  const wanted = readFileSync(REQUIREMENTS, "utf8");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return OWN_PYTHON;
  console.log("conformance: setting up Python in .moiety/conformance/python");
  mkdirSync(WORK, { recursive: true });
  const log = join(WORK, "python-setup.log");
  await mustRun(["python3", "-m", "venv", join(WORK, "python")], { log });
  await mustRun([OWN_PYTHON, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], { log });
  writeFileSync(stamp, wanted);
  return OWN_PYTHON;
}
