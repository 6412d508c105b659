import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram, ROOT, runLogged, StepError, step } from "./step.mjs";

const NATIVE_OUTPUT = "packages/kernels/build/moiety_kernels.node";

export function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major > 20 || (major === 20 && minor >= 11)) return;
  throw new StepError(`Node ${process.versions.node} is too old; install Node 20.11 or later (https://nodejs.org)`);
}

export async function installDependencies() {
  if (dependenciesMatchLock()) return;
  // Not `npm ci`: it refuses a lock file without the optional packages of other platforms, and npm writes such lock files where a
  // registry does not offer them. This obeys the lock file as well, and does not change it.
  await step("installing npm dependencies", () =>
    runLogged({
      name: "npm",
      command: ["npm", "install", "--no-save", "--no-audit", "--no-fund"],
      advice: "Is the npm registry reachable? Try `npm ping`, then start again.",
    }),
  );
}

/** Whether every package that the lock file demands is installed in that version. Optional ones may be absent. */
function dependenciesMatchLock() {
  const installed = readLock("node_modules/.package-lock.json");
  if (installed === undefined) return false;
  const wanted = readLock("package-lock.json") ?? {};
  return Object.entries(wanted).every(([path, entry]) => {
    if (!path.startsWith("node_modules/") && !path.includes("/node_modules/")) return true;
    const present = installed[path];
    if (present === undefined) return entry.optional === true || entry.devOptional === true || entry.peer === true;
    return present.version === entry.version && present.link === entry.link && existsSync(join(ROOT, path));
  });
}

function readLock(path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, path), "utf8")).packages;
  } catch {
    return undefined;
  }
}

export async function checkGenerated() {
  const sample = "packages/proto/src/generated/moiety/v1/expert.ts";
  if (existsSync(join(ROOT, sample))) return;
  throw new StepError(`${sample} is missing; it is committed: run \`git checkout packages/proto/src/generated\``);
}

export async function buildNative() {
  const compiler = process.env.CXX ?? ["g++", "clang++", "c++"].find((name) => findProgram(name) !== undefined);
  if (compiler === undefined || findProgram("make") === undefined) {
    if (existsSync(join(ROOT, NATIVE_OUTPUT))) return;
    throw new StepError("building the native kernels needs a C++17 compiler and make\n  run: apt install g++ make");
  }
  const make = ["make", "--no-print-directory", "-C", "packages/kernels", "-j2"];
  const advice = "Fix what the compiler says above, or try `make -C packages/kernels clean` and start again.";
  const build = () => runLogged({ name: "native", command: make, advice });
  if (existsSync(join(ROOT, NATIVE_OUTPUT))) return build();
  await step("building the native kernels", build);
}

export async function buildTypeScript() {
  const build = () =>
    runLogged({
      name: "typescript",
      command: [process.execPath, "node_modules/typescript/bin/tsc", "-b"],
      advice: "Fix the type errors above. If they make no sense: `npx tsc -b --clean`, then start again.",
    });
  if (existsSync(join(ROOT, "packages/cli/dist/index.js"))) return build();
  await step("building the TypeScript", build);
}
