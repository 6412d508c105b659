import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { findProgram, runLogged, StepError, step } from "./step.mjs";

function cacheFolder() {
  return process.env.XDG_CACHE_HOME || join(homedir(), process.platform === "darwin" ? "Library/Caches" : ".cache");
}

/** Has this process and those it starts find Go where its own installation puts it, too. */
export function addGoToPath() {
  process.env.PATH = [process.env.PATH ?? "", "/usr/local/go/bin"].join(delimiter);
}

/** Flags of every build, the same for all, so that they share what they compile: above all Go's own library. */
export const GO_FLAGS = ["-trimpath"];

/** The environment of every build: without C, also where there is a compiler for it. */
export function goEnvironment() {
  return { ...process.env, CGO_ENABLED: "0" };
}

/** Programs built with Go from a folder whose go.mod and go.sum say what of, kept in the user's cache: another source is built anew. */
export class GoBuild {
  #options;
  #folder;

  /**
   * name: for the cache and messages; source: the folder; files: those of it that are built; programs: names to Go's packages; ldflags: for all of them;
   * go: the least version of Go; howLong: of a build; advice: what else can be done.
   */
  constructor(options) {
    this.#options = options;
    const hash = createHash("sha256");
    for (const file of options.files) hash.update(readFileSync(join(options.source, file)));
    const key = hash.digest("hex").slice(0, 16);
    this.#folder = join(cacheFolder(), "moiety", `${options.name}-${key}-${process.platform}-${process.arch}`);
  }

  get isBuilt() {
    return Object.keys(this.#options.programs).every((program) => existsSync(this.file(program)));
  }

  /** Where one of the programs is, or will be. */
  file(program) {
    return join(this.#folder, program);
  }

  /** Why it cannot be had; undefined when it can. */
  whyNot() {
    if (this.isBuilt || findProgram("go") !== undefined) return undefined;
    return `there is neither a ${this.#options.name} that was built before (${this.#folder}) nor a go on PATH to build one`;
  }

  /**
   * Builds it unless it is there: once, and for minutes.
   * @throws StepError that says what is missing.
   */
  async prepare() {
    if (this.isBuilt) return;
    const { name, go, howLong, advice } = this.#options;
    if (findProgram("go") === undefined) {
      const hint = `install it (https://go.dev/dl)${advice === undefined ? "" : `, or ${advice}`}`;
      throw new StepError(`${name} is built with Go ${go} or later, and there is no go on PATH: ${hint}`);
    }
    await step(`building ${name} (${howLong}, once)`, () => this.#build());
  }

  async #build() {
    const { name, source, programs, ldflags = "", advice } = this.#options;
    const made = `${this.#folder}.${process.pid}`;
    mkdirSync(made, { recursive: true });
    for (const [index, [program, module]] of Object.entries(programs).entries())
      await runLogged({
        name,
        command: ["go", "build", "-mod=readonly", ...GO_FLAGS, "-ldflags", `-s -w ${ldflags}`, "-o", join(made, program), module],
        label: "go build",
        cwd: source,
        env: goEnvironment(),
        append: index > 0,
        ...(advice === undefined ? {} : { advice: `where Go modules cannot be fetched, ${advice}` }),
      });
    // Another process may have built it in the meantime: the same.
    rmSync(this.#folder, { recursive: true, force: true });
    renameSync(made, this.#folder);
  }
}
