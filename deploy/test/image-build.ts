import { spawn } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type Container, inContainer, type Mount } from "./container.js";
import { filesLetThrough } from "./docker-ignore.js";
import { type Dockerfile, type Instruction, instructionsFor, lastOf, pairsOf, type Stage } from "./dockerfile.js";
import { REPOSITORY, readText } from "./repository.js";

/** Where a COPY's sources are mounted. */
const FROM = "/tmp/from";
/** What changes no file. */
const DESCRIBING = new Set(["ARG", "ENV", "LABEL", "USER", "STOPSIGNAL", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"]);
/** As COPY does it: the content of a folder; a file, into a folder if the target ends in a slash. All of it becomes root's. */
const COPY = `
target=$1; shift
for source; do
  if [ -d "$source" ]; then mkdir -p "$target"; cp -a --no-preserve=ownership "$source/." "$target"; continue; fi
  case "$target" in
    */) mkdir -p "$target"; cp -a --no-preserve=ownership "$source" "$target" ;;
    *) mkdir -p "$(dirname "$target")"; cp -a --no-preserve=ownership -T "$source" "$target" ;;
  esac
done`;
/** How the way to the registries is told, which a container engine gives a build as well. */
const OF_NETWORK = /proxy|cert|ssl|cainfo/i;
const TAIL_CHARACTERS = 4_000;

/**
 * The stages of a Dockerfile, built one after the other without a container engine: every COPY and RUN in a container whose base image is this
 * machine, from what .dockerignore lets through of the working tree. Each stage's changes are a folder, as layers are.
 */
export class ImageBuild {
  readonly folder = mkdtempSync(join(tmpdir(), "moiety-build-"));
  /** Every command that was run, as the Dockerfile has it. */
  readonly commands: string[] = [];
  readonly #file: Dockerfile;

  constructor(file: Dockerfile) {
    this.#file = file;
    chmodSync(this.folder, 0o755);
    for (const name of ["place", "context"]) mkdirSync(join(this.folder, name));
  }

  /** The layers of a stage, uppermost first. */
  layersOf(name: string): readonly string[] {
    const stage = this.#file.stages.find((each) => each.name === name);
    return stage === undefined ? [] : [join(this.folder, name), ...this.layersOf(stage.from)];
  }

  /** @throws Error with the last output of the command that failed. */
  async run(): Promise<void> {
    const context = join(this.folder, "context");
    for (const path of filesLetThrough(REPOSITORY, readText(".dockerignore"))) {
      mkdirSync(join(context, dirname(path)), { recursive: true });
      cpSync(REPOSITORY + path, join(context, path), { verbatimSymlinks: true });
    }
    for (const stage of this.#file.stages) {
      mkdirSync(join(this.folder, stage.name));
      mkdirSync(join(this.folder, `${stage.name}-work`));
      for (const [index, instruction] of stage.instructions.entries())
        await this.#obey(stage, instruction, [...instructionsFor(this.#file, stage.from), ...stage.instructions.slice(0, index)]);
    }
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #obey(stage: Stage, instruction: Instruction, before: readonly Instruction[]): Promise<void> {
    const { name, text } = instruction;
    const cwd = lastOf(before, "WORKDIR") || "/";
    if (name === "RUN") {
      this.commands.push(text);
      const env = { ...pairsOf(before, "ENV"), ...this.#argsOf(before) };
      return this.#execute(stage, {
        words: ["/bin/sh", "-c", text],
        env,
        cwd,
        user: lastOf(before, "USER") || "0:0",
        mounts: [],
      });
    }
    if (name === "COPY") return this.#copy(stage, text, cwd);
    if (name === "WORKDIR")
      return this.#execute(stage, { words: ["mkdir", "-p", text], env: {}, cwd: "/", user: "0:0", mounts: [] });
    if (!DESCRIBING.has(name)) throw new Error(`${stage.name}: nobody has said how ${name} is obeyed`);
  }

  async #copy(stage: Stage, text: string, cwd: string): Promise<void> {
    const words = text.split(" ");
    const from = words.find((word) => word.startsWith("--from="))?.slice("--from=".length);
    const paths = words.filter((word) => !word.startsWith("--from="));
    const target = paths.pop() ?? "";
    if (paths.length === 0 || /--|[*?[\]$"]/.test([...paths, target].join(" "))) throw new Error(`COPY ${text}: not known here`);
    const mounts = [
      { source: from === undefined ? join(this.folder, "context") : this.layersOf(from), target: FROM, readOnly: true },
    ];
    const to = resolve(cwd, target) + (/(^|\/)\.?\/?$/.test(target) ? "/" : "");
    const sources = paths.map((path) => join(FROM, path));
    await this.#execute(stage, {
      words: ["/bin/sh", "-ec", COPY, "copy", to, ...sources],
      env: {},
      cwd: "/",
      user: "0:0",
      mounts,
    });
  }

  /** Values of those that the stage, or one that it is from, has declared; those of the file's head where a stage gives none. */
  #argsOf(before: readonly Instruction[]): Readonly<Record<string, string>> {
    const declared = before.flatMap(({ name, text }) => (name === "ARG" ? [text.split("=")] : []));
    return Object.fromEntries(declared.map(([key = "", value]) => [key, value ?? this.#file.args[key] ?? ""]));
  }

  #execute(
    stage: Stage,
    command: Pick<Container, "cwd" | "user"> & {
      readonly words: readonly string[];
      readonly env: Readonly<Record<string, string>>;
      readonly mounts: readonly Mount[];
    },
  ): Promise<void> {
    const { words, env, mounts, cwd, user } = command;
    const kept = { layer: join(this.folder, stage.name), work: join(this.folder, `${stage.name}-work`) };
    const place = join(this.folder, "place");
    const layers = this.layersOf(stage.from);
    const [file = "", ...args] = inContainer({ place, layers, kept, readOnly: false, mounts, tmpfs: ["/tmp"], user, cwd }, words);
    const network = Object.entries(process.env).filter(([name]) => OF_NETWORK.test(name));
    const child = spawn(file, args, {
      env: { ...Object.fromEntries(network), PATH: process.env["PATH"], HOME: "/root", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        output = (output + chunk).slice(-TAIL_CHARACTERS);
      });
    return new Promise((done, fail) => {
      child.once("error", fail);
      child.once("close", (code) =>
        code === 0 ? done() : fail(new Error(`${stage.name}: ${words.join(" ")} ended with ${code}:\n${output}`)),
      );
    });
  }
}
