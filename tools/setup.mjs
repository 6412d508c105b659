#!/usr/bin/env node
// Sets up what is missing, then runs the command after `--`, if any, with what it set up in its environment.
// Plain Node: it has to run on a fresh clone.
import { buildNative, buildTypeScript, checkGenerated, checkNode, installDependencies } from "./setup/build.mjs";
import { buildGrammar } from "./setup/grammar.mjs";
import { withLock } from "./setup/lock.mjs";
import { provideRedis } from "./setup/redis.mjs";
import { runCommand } from "./setup/run-command.mjs";
import { StepError } from "./setup/step.mjs";

const USAGE = `Usage: node tools/setup.mjs [-- <command> [arguments]]

Installs npm dependencies, builds the native kernels, the grammar engine (where there is Rust's cargo) and the
TypeScript, and provides a redis-server, each only if it is missing or out of date. Then runs the command, if one is given.

  MOIETY_REDIS_SERVER   the redis-server to use, instead of the one on PATH
`;

const separator = process.argv.indexOf("--");
const own = separator < 0 ? process.argv.slice(2) : process.argv.slice(2, separator);
const command = separator < 0 ? [] : process.argv.slice(separator + 1);

/** What needs npm's packages. */
async function buildWithNode() {
  await installDependencies();
  await checkGenerated();
  await buildNative();
  await buildTypeScript();
}

/**
 * Runs all of them to their ends, also when one fails: none may go on when the lock is released. Says at once why one failed. Returns their results.
 * @throws StepError when any failed; or what is no StepError.
 */
async function inParallel(steps) {
  const ended = await Promise.allSettled(steps.map((work) => work().catch(tellWhy)));
  const failures = ended.filter(({ status }) => status === "rejected").map(({ reason }) => reason);
  const unexpected = failures.find((failure) => !(failure instanceof StepError));
  if (unexpected !== undefined) throw unexpected;
  if (failures.length > 0) throw new StepError("not complete, because of what failed above; what was done is kept");
  return ended.map(({ value }) => value);
}

function tellWhy(error) {
  if (error instanceof StepError) console.error(`setup: ${error.message}`);
  throw error;
}

if (own.length > 0) {
  console.error(USAGE);
  process.exit(own.includes("--help") ? 0 : 2);
}

try {
  const redisServer = await withLock(async () => {
    checkNode();
    const [server] = await inParallel([provideRedis, buildGrammar, buildWithNode]);
    return server;
  });
  if (command.length > 0) await runCommand(command, redisServer);
} catch (error) {
  if (!(error instanceof StepError)) throw error;
  console.error(`setup: ${error.message}`);
  process.exit(1);
}
