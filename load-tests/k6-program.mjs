import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findProgram, runLogged, StepError, step } from "../tools/setup/step.mjs";

/** k6 with ./k6-events, whose go.mod says which version and whose go.sum what it is made of. */
const SOURCE = fileURLToPath(new URL("k6-events/", import.meta.url));
const GO = "1.25";
/** What is built, and of what: another source is built anew. */
const FILES = ["go.mod", "go.sum", "main.go", "events.go"];
const BUILT = join(cacheFolder(), "moiety", `k6-${sourceHash()}-${process.platform}-${process.arch}`, "k6");

function cacheFolder() {
  return process.env.XDG_CACHE_HOME || join(homedir(), process.platform === "darwin" ? "Library/Caches" : ".cache");
}

function sourceHash() {
  const hash = createHash("sha256");
  for (const file of FILES) hash.update(readFileSync(join(SOURCE, file)));
  return hash.digest("hex").slice(0, 16);
}

/** A k6 that has the module k6/x/events: the one that MOIETY_K6 names, or one that was built before; undefined when there is none. */
function findK6() {
  const named = process.env.MOIETY_K6;
  if (!named) return existsSync(BUILT) ? BUILT : undefined;
  if (!readsEvents(named)) throw new StepError(`MOIETY_K6 names ${named}, which is no k6 with the module k6/x/events`);
  return named;
}

/** Why no load test can run here; undefined when one can. */
export function whyNoK6() {
  if (findK6() !== undefined || findProgram("go") !== undefined) return undefined;
  return `there is neither a k6 that was built before (${BUILT}) nor a go on PATH to build one`;
}

/**
 * As `findK6`, but builds one when there is none: once, and for minutes.
 * @throws StepError that says what is missing.
 */
export async function preparedK6() {
  const found = findK6();
  if (found !== undefined) return found;
  const go = findProgram("go");
  if (go === undefined) {
    const advice = "install it (https://go.dev/dl), or name a k6 that has the module k6/x/events in MOIETY_K6";
    throw new StepError(`k6 is built with Go ${GO} or later, and there is no go on PATH: ${advice}`);
  }
  await step(`building k6 (some minutes, once)`, () => build(go));
  return BUILT;
}

async function build(go) {
  mkdirSync(dirname(BUILT), { recursive: true });
  const made = `${BUILT}.${process.pid}`;
  await runLogged({
    name: "k6",
    command: [go, "build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o", made, "."],
    label: "go build",
    cwd: SOURCE,
    advice: "where Go modules cannot be fetched, name a k6 that was built elsewhere from load-tests/k6-events in MOIETY_K6",
  });
  renameSync(made, BUILT);
}

function readsEvents(program) {
  try {
    return execFileSync(program, ["version"], { encoding: "utf8" }).includes("k6/x/events");
  } catch {
    return false;
  }
}
