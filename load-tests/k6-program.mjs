import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { GoBuild } from "../tools/setup/go-build.mjs";
import { StepError } from "../tools/setup/step.mjs";

/** k6 with ./k6-events, whose go.mod says which version and whose go.sum what it is made of. */
const BUILD = new GoBuild({
  name: "k6",
  source: fileURLToPath(new URL("k6-events/", import.meta.url)),
  files: ["go.mod", "go.sum", "main.go", "events.go"],
  programs: { k6: "." },
  go: "1.25",
  howLong: "some minutes",
  advice: "name a k6 that was built elsewhere from load-tests/k6-events in MOIETY_K6",
});

/** A k6 that has the module k6/x/events: the one that MOIETY_K6 names, or one that was built before; undefined when there is none. */
function findK6() {
  const named = process.env.MOIETY_K6;
  if (!named) return BUILD.isBuilt ? BUILD.file("k6") : undefined;
  if (!readsEvents(named)) throw new StepError(`MOIETY_K6 names ${named}, which is no k6 with the module k6/x/events`);
  return named;
}

/** Why no load test can run here; undefined when one can. */
export function whyNoK6() {
  return findK6() === undefined ? BUILD.whyNot() : undefined;
}

/**
 * As `findK6`, but builds one when there is none: once, and for minutes.
 * @throws StepError that says what is missing.
 */
export async function preparedK6() {
  const found = findK6();
  if (found !== undefined) return found;
  await BUILD.prepare();
  return BUILD.file("k6");
}

function readsEvents(program) {
  try {
    return execFileSync(program, ["version"], { encoding: "utf8" }).includes("k6/x/events");
  } catch {
    return false;
  }
}
