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
      command: [cargo, "build", "--release", "--locked", "--manifest-path", `${FOLDER}/native/Cargo.toml`, "--target-dir", TARGET],
      advice: "Fix what the compiler says above. Without cargo on PATH, what was built before is used.",
      env: { ...process.env, PATH: `${dirname(cargo)}${delimiter}${process.env.PATH ?? ""}` },
    });
    install();
  };
  try {
    if (isBuilt) await build();
    else await step("building the grammar engine (some minutes, once)", build);
  } catch (error) {
    if (isBuilt || !(error instanceof StepError)) throw error;
    leaveOut(`cargo could not build it, see .moiety/logs/setup-grammar.log`);
  }
}

function leaveOut(why) {
  process.stderr.write(`setup: constrained decoding is left out: ${why}\n`);
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
