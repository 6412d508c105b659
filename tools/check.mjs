#!/usr/bin/env node
// Every static check. Runs them all and says which failed. `node tools/check.mjs types knip` runs only those.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installDependencies } from "./setup/build.mjs";
import { withLock } from "./setup/lock.mjs";
import { ROOT, StepError } from "./setup/step.mjs";

const bin = (name) => join(ROOT, "node_modules", ".bin", name);

const CHECKS = {
  style: {
    title: "format, lint and boundaries",
    run: () => call(bin("biome"), ["ci", "--colors=off", "--max-diagnostics=50", "."]),
  },
  types: { title: "types of the sources", run: () => call(bin("tsc"), ["-b"]) },
  "test-types": {
    title: "types of the tests",
    run: () => call(bin("tsc"), ["-p", "tsconfig.test.json"]) ?? call(bin("tsc"), ["-p", "load-tests/k6"]),
  },
  proto: { title: "protocol lint and format", run: checkProto },
  generated: { title: "generated code is up to date", run: checkGenerated },
  knip: { title: "unused files, exports and dependencies", run: () => call(bin("knip"), ["--no-progress", "--no-config-hints"]) },
};

/** What a program wrote; undefined when it succeeded. */
function call(program, given) {
  const { status, error, stdout, stderr } = spawnSync(program, given, { cwd: ROOT, encoding: "utf8", maxBuffer: 64 << 20 });
  if (status === 0) return undefined;
  return `${stdout ?? ""}${stderr ?? ""}${error?.message ?? ""}`.trim() || `${program} failed and said nothing`;
}

function checkProto() {
  return call(bin("buf"), ["lint"]) ?? call(bin("buf"), ["format", "--diff", "--exit-code", "proto"]);
}

function checkGenerated() {
  const folder = mkdtempSync(join(tmpdir(), "moiety-generated-"));
  try {
    const generated = call(bin("buf"), ["generate", "--output", folder]);
    if (generated !== undefined) return generated;
    const committed = "packages/proto/src/generated";
    const difference = call("diff", ["-ru", join(ROOT, committed), join(folder, committed)]);
    return difference === undefined ? undefined : `${difference}\nrun \`npm run generate\` and commit the result`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(CHECKS);
const unknown = wanted.filter((name) => !(name in CHECKS));
if (unknown.length > 0) {
  console.error(`check: there is no check named ${unknown.join(", ")}; there are ${Object.keys(CHECKS).join(", ")}`);
  process.exit(2);
}
try {
  await withLock(installDependencies);
} catch (error) {
  if (!(error instanceof StepError)) throw error;
  console.error(`check: ${error.message}`);
  process.exit(1);
}
const failed = wanted.filter((name) => {
  const begun = performance.now();
  const fault = CHECKS[name].run();
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  console.log(`check: ${name} (${CHECKS[name].title}) ${fault === undefined ? "ok" : "FAILED"} (${seconds} s)`);
  if (fault !== undefined) console.log(`\n${fault}\n`);
  return fault !== undefined;
});
if (failed.length > 0) {
  console.log(`check: failed: ${failed.join(", ")}`);
  process.exit(1);
}
