import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram, runLogged, STATE, StepError, step } from "./step.mjs";

const FOLDER = join(STATE, "redis");
/** A script that runs the private redis-server with its libraries. */
const WRAPPER = join(FOLDER, "bin", "redis-server");
/** BullMQ's scripts need it. */
const LEAST_VERSION = [6, 2];
const ADVICE =
  "Install Redis 6.2 or later yourself (apt install redis-server, dnf install redis, brew install redis), or set MOIETY_REDIS_SERVER to a redis-server.";

/**
 * The path of a redis-server: the one that MOIETY_REDIS_SERVER names, the one on PATH, or a private one that is
 * unpacked from Debian packages with no change to the system.
 */
export async function provideRedis() {
  const named = process.env.MOIETY_REDIS_SERVER;
  if (named !== undefined && named !== "") {
    const fault = faultOf(named);
    if (fault === undefined) return named;
    throw new StepError(`MOIETY_REDIS_SERVER is ${named}: ${fault}\n  ${ADVICE}`);
  }
  const found = [findProgram("redis-server"), WRAPPER].find((path) => path !== undefined && faultOf(path) === undefined);
  if (found !== undefined) return found;
  return await step("fetching a private redis-server", fetchRedis);
}

/** Why a redis-server cannot be used; undefined if it can. */
function faultOf(path) {
  if (!existsSync(path)) return "there is no such file";
  let output;
  try {
    output = execFileSync(path, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 10_000 });
  } catch (error) {
    return `it does not run: ${String(error.stderr || error.message).trim()}`;
  }
  const [, major, minor] = output.match(/v=(\d+)\.(\d+)/) ?? [];
  if (major === undefined) return "it does not say its version";
  const enough = Number(major) > LEAST_VERSION[0] || (Number(major) === LEAST_VERSION[0] && Number(minor) >= LEAST_VERSION[1]);
  return enough ? undefined : `its version is ${major}.${minor}, and ${LEAST_VERSION.join(".")} or later is needed`;
}

async function fetchRedis() {
  if (findProgram("apt-get") === undefined || findProgram("dpkg-deb") === undefined) {
    throw new StepError(`there is no redis-server, and no apt-get to fetch one with\n  ${ADVICE}`);
  }
  let fault;
  try {
    await unpackPrivately();
    fault = faultOf(WRAPPER);
    if (fault === undefined) return WRAPPER;
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    fault = error.message;
  }
  rmSync(FOLDER, { recursive: true, force: true });
  if (process.getuid?.() !== 0) throw new StepError(`a private redis-server could not be set up: ${fault}\n  ${ADVICE}`);
  try {
    return await installForAll();
  } catch (error) {
    throw new StepError(`a private redis-server could not be set up: ${fault}\n  nor one for the system: ${error.message}`);
  }
}

/** Downloads redis-server and those of its libraries that the system lacks, and unpacks them under .moiety/redis. */
async function unpackPrivately() {
  const packages = join(FOLDER, "apt", "cache", "archives");
  const unpacked = join(FOLDER, "root");
  rmSync(FOLDER, { recursive: true, force: true });
  for (const path of [join(packages, "partial"), join(FOLDER, "apt", "lists", "partial"), join(FOLDER, "bin"), unpacked]) {
    mkdirSync(path, { recursive: true });
  }
  const status = join(FOLDER, "apt", "status");
  writeFileSync(status, statusWithoutRedis());
  const apt = ["apt-get", ...aptOptions(status)];
  await runLogged({ name: "redis", label: "apt-get update", command: [...apt, "update"] });
  const install = ["install", "--yes", "--download-only", "--no-install-recommends", "redis-server"];
  await runLogged({ name: "redis", label: "apt-get install --download-only", command: [...apt, ...install], append: true });
  for (const file of readdirSync(packages).filter((name) => name.endsWith(".deb"))) {
    await runLogged({ name: "redis", command: ["dpkg-deb", "-x", join(packages, file), unpacked], append: true });
  }
  writeWrapper(unpacked);
  rmSync(join(FOLDER, "apt"), { recursive: true, force: true });
}

/** All that apt writes goes into our folder; the system's own lists, cache and locks are not touched. */
function aptOptions(status) {
  return [
    `Dir::State::Lists=${join(FOLDER, "apt", "lists")}`,
    `Dir::State::status=${status}`,
    `Dir::State::extended_states=${join(FOLDER, "apt", "extended_states")}`,
    `Dir::Cache=${join(FOLDER, "apt", "cache")}`,
    `Dir::Log=${join(FOLDER, "apt")}`,
    "Debug::NoLocking=true",
    `APT::Sandbox::User=${process.getuid?.() === 0 ? "root" : ""}`,
  ].flatMap((option) => ["-o", option]);
}

/** dpkg's list of what is installed, without Redis: a Redis that is listed but cannot be found does not help. */
function statusWithoutRedis() {
  const listed = "/var/lib/dpkg/status";
  if (!existsSync(listed)) return "";
  const entries = readFileSync(listed, "utf8").split("\n\n");
  return entries.filter((entry) => !/^Package: redis(-server|-tools)?$/m.test(entry)).join("\n\n");
}

function writeWrapper(unpacked) {
  const folders = ["usr/lib", "lib"].flatMap((path) => {
    const base = join(unpacked, path);
    if (!existsSync(base)) return [];
    const nested = readdirSync(base, { withFileTypes: true }).filter(
      (entry) => entry.isDirectory() && entry.name.includes("-linux-"),
    );
    return [base, ...nested.map((entry) => join(base, entry.name))];
  });
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const script = `#!/bin/sh
LD_LIBRARY_PATH=${quoted(folders.join(":"))}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec ${quoted(join(unpacked, "usr/bin/redis-server"))} "$@"
`;
  writeFileSync(WRAPPER, script);
  chmodSync(WRAPPER, 0o755);
}

async function installForAll() {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const common = { name: "redis", advice: ADVICE, append: true, env };
  await runLogged({ ...common, command: ["apt-get", "update"] });
  await runLogged({ ...common, command: ["apt-get", "install", "--yes", "--no-install-recommends", "redis-server"] });
  const found = findProgram("redis-server");
  if (found !== undefined && faultOf(found) === undefined) return found;
  throw new StepError(
    `apt-get installed a redis-server that cannot be used: ${found === undefined ? "not on PATH" : faultOf(found)}\n  ${ADVICE}`,
  );
}
