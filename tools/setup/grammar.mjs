import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { findProgram, ROOT, runLogged, StepError, step } from "./step.mjs";

const FOLDER = "packages/grammar";
const OUTPUT = join(ROOT, FOLDER, "build/moiety_grammar.node");
const TARGET = `${FOLDER}/build/target`;
const LIBRARIES = { darwin: "libmoiety_grammar.dylib", win32: "moiety_grammar.dll" };

/** Builds the engine of constrained decoding where there is a Rust toolchain. Everything else works without it. */
export async function buildGrammar() {
  const cargo = findCargo();
  const isBuilt = existsSync(OUTPUT);
  if (cargo === undefined) {
    if (!isBuilt) leaveOut("building it needs Rust's cargo (https://rustup.rs)");
    return;
  }
  const build = async () => {
    await runLogged({
      name: "grammar",
      command: [
        cargo,
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        `${FOLDER}/native/Cargo.toml`,
        "--target-dir",
        TARGET,
      ],
      env: { ...process.env, PATH: `${dirname(cargo)}${delimiter}${process.env.PATH ?? ""}` },
    });
    install();
  };
  try {
    if (isBuilt) await build();
    else await step("building the grammar engine (some minutes, once)", build);
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    // One that was built before serves as long as it holds the engine that the package asks for.
    leaveOut("cargo could not build it, see .moiety/logs/setup-grammar.log", isBuilt);
  }
}

function leaveOut(why, isBuilt = false) {
  process.stderr.write(`setup: constrained decoding is ${isBuilt ? "as it was built before" : "left out"}: ${why}\n`);
}

function findCargo() {
  const usual = join(process.env.CARGO_HOME ?? join(homedir(), ".cargo"), "bin", "cargo");
  return findProgram("cargo") ?? (existsSync(usual) ? usual : undefined);
}

/** By a rename: processes that run may have the old one mapped. */
function install() {
  const built = readFileSync(join(ROOT, TARGET, "release", LIBRARIES[process.platform] ?? "libmoiety_grammar.so"));
  if (existsSync(OUTPUT) && readFileSync(OUTPUT).equals(built)) return;
  mkdirSync(dirname(OUTPUT), { recursive: true });
  writeFileSync(`${OUTPUT}.new`, built, { mode: 0o755 });
  renameSync(`${OUTPUT}.new`, OUTPUT);
}
