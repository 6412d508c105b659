import { execFile, type SpawnSyncReturns, spawnSync } from "node:child_process";
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { promisify } from "node:util";
import { freePort, ManagedProcess } from "@moiety/testing";
import { type ComposeService, readCompose, targetOf } from "./compose.js";
import { inContainer, type Mount, whyNoContainers } from "./container.js";
import { commandOf, instructionsFor, lastOf, pairsOf, readDockerfile } from "./dockerfile.js";
import { REPOSITORY } from "./repository.js";

/** A service of the compose file, as processes of this machine: its images' files, entry point, environment and health check. */
export interface ComposeProcess {
  readonly process: ManagedProcess;
  /** Runs the health check of the compose file. */
  isHealthy(): boolean;
}

type Confinement = Pick<ComposeService, "read_only" | "tmpfs" | "user"> & { readonly mounts: readonly Mount[] };

const dockerfile = readDockerfile("deploy/Dockerfile");
const { services } = readCompose();
/** What the services of ours have, and the command is to work with. */
const STRICTEST: Confinement = { read_only: true, tmpfs: ["/tmp"], user: undefined, mounts: [] };

/** Why processes have the files of this machine, and paths of their image are replaced; undefined: they have those of a container. */
export const whyNoOwnFiles = whyNoContainers();
if (whyNoOwnFiles !== undefined) console.log(`processes are not given a file system of their own: ${whyNoOwnFiles}`);

/** The user of the images, if this process may become it; then what a container may not write, these processes may not either. */
export const asImageUser: readonly string[] = imageUser();

function imageUser(): readonly string[] {
  const [uid, gid] = lastOf(instructionsFor(dockerfile, "runtime"), "USER").split(":");
  const become = ["setpriv", "--reuid", `${uid}`, "--regid", `${gid}`, "--clear-groups"];
  const tried = spawnSync("setpriv", [...become.slice(1), "node", "--version"]);
  return tried.status === 0 ? become : [];
}

/** Images' file systems in a folder, and the processes of the compose file in them. */
export class ComposeRun {
  readonly folder = mkdtempSync(join(tmpdir(), "moiety-deploy-"));
  readonly #layersOf: (target: string) => readonly string[];
  readonly #ports = new Map<string, number>();
  readonly #started: ManagedProcess[] = [];

  /** `layersOf` an image are folders, uppermost first; without it they are what `pack` makes. */
  constructor(layersOf?: (target: string) => readonly string[]) {
    this.#layersOf = layersOf ?? ((target) => [join(this.folder, target)]);
    chmodSync(this.folder, 0o755);
    mkdirSync(join(this.folder, "place"));
  }

  /** The folder that is /app of an image that was packed. */
  app(target: string): string {
    return join(this.folder, target, "app");
  }

  /** Makes what images have of workspaces, as the Dockerfile does. */
  async pack(workspaces: readonly string[]): Promise<void> {
    const script = `${REPOSITORY}deploy/image/pack.mjs`;
    const each = async (workspace: string) => {
      const app = this.app(basename(workspace));
      await promisify(execFile)(process.execPath, [script, workspace, app]);
      for (const name of ["start.mjs", "healthcheck.mjs"]) cpSync(`${REPOSITORY}deploy/image/${name}`, join(app, name));
      mkdirSync(join(app, "../data"));
      if (asImageUser.length > 0) chownSync(join(app, "../data"), Number(asImageUser[2]), Number(asImageUser[4]));
    };
    await Promise.all(workspaces.map(each));
  }

  /** Starts a service whose image is there. */
  async start(name: string): Promise<ComposeProcess> {
    const service = serviceOf(name);
    const target = targetOf(service) ?? "";
    const mounts = service.volumes.map((volume) => this.#mount(target, volume));
    const instructions = instructionsFor(dockerfile, target);
    const env: Record<string, string> = {};
    for (const [key, value] of Object.entries({ ...pairsOf(instructions, "ENV"), ...service.environment }))
      env[key] = await this.#here(name, key === "MOIETY_HTTP_PORT" ? `${name}:${value}` : value, mounts);
    env["MOIETY_HTTP_PORT"] = `${env["MOIETY_HTTP_PORT"]}`.split(":").at(-1) ?? "";
    // That of a user without an entry in /etc/passwd.
    env["HOME"] = "/";
    const words = (given: readonly string[]) => this.#words(target, given, { ...service, mounts });
    const [file = "", ...args] = words(commandOf(lastOf(instructions, "ENTRYPOINT")));
    const process = this.#spawn({ name, file, args, env });
    const [probe = "", ...probeArgs] = words(service.healthcheck.test.slice(1));
    const environment = { PATH: globalThis.process.env["PATH"], ...env };
    return { process, isHealthy: () => spawnSync(probe, probeArgs, { env: environment }).status === 0 };
  }

  /** Runs an image to its end, with no variable but those of the image and nothing writable but /tmp: its entry point, or other words. */
  run(target: string, given: readonly string[], entry?: readonly string[]): SpawnSyncReturns<string> {
    const instructions = instructionsFor(dockerfile, target);
    const entryPoint = entry ?? commandOf(lastOf(instructions, "ENTRYPOINT"));
    const [file = "", ...args] = this.#words(target, [...entryPoint, ...given], STRICTEST);
    const env = { PATH: process.env["PATH"], HOME: "/", ...pairsOf(instructions, "ENV") };
    return spawnSync(file, args, { env, encoding: "utf8" });
  }

  /** Starts Redis with the arguments of the compose file, in a folder of its own. */
  async startRedis(): Promise<ManagedProcess> {
    const { command } = serviceOf("redis");
    const dir = join(this.folder, "redis");
    mkdirSync(dir, { recursive: true });
    const own = ["--port", String(await this.#port("redis:6379")), "--bind", "127.0.0.1"];
    const args = [...command.slice(1).map((word) => (word === "/data" ? dir : word)), ...own];
    const file = process.env["MOIETY_REDIS_SERVER"] ?? command[0] ?? "";
    return this.#spawn({ name: "redis", file, args, env: {}, cwd: dir });
  }

  /** Where an address of the compose file's network, or a published port, is on this machine. */
  async addressOf(address: string): Promise<string> {
    return `127.0.0.1:${await this.#port(address)}`;
  }

  describe(): string {
    return this.#started.map((process) => process.describe()).join("\n\n");
  }

  async close(): Promise<void> {
    await Promise.all(this.#started.map((process) => process.kill()));
    rmSync(this.folder, { recursive: true, force: true });
  }

  #spawn(command: ConstructorParameters<typeof ManagedProcess>[0]): ManagedProcess {
    const process = new ManagedProcess(command);
    process.start();
    this.#started.push(process);
    return process;
  }

  #words(target: string, words: readonly string[], confinement: Confinement): readonly string[] {
    const instructions = instructionsFor(dockerfile, target);
    if (whyNoOwnFiles !== undefined)
      return [...asImageUser, ...words.map((word) => word.replace(/^\/app\//, `${this.#layersOf(target)[0]}/app/`))];
    const { read_only: readOnly, tmpfs, user = lastOf(instructions, "USER"), mounts } = confinement;
    const cwd = lastOf(instructions, "WORKDIR");
    return inContainer(
      { place: join(this.folder, "place"), layers: this.#layersOf(target), readOnly, mounts, tmpfs, user, cwd },
      words,
    );
  }

  #mount(image: string, volume: ComposeService["volumes"][number]): Mount {
    if (typeof volume !== "string") {
      const copy = join(this.folder, "mounted", basename(volume.target));
      cpSync(resolve(REPOSITORY, "deploy", volume.source), copy, { recursive: true });
      return { source: copy, target: volume.target, readOnly: volume.read_only };
    }
    const [name = "", target = ""] = volume.split(":");
    const source = join(this.folder, "volumes", name);
    mkdirSync(source, { recursive: true });
    // As a new volume, it takes over the owner of what it is mounted on.
    const place = this.#layersOf(image)
      .map((layer) => join(layer, target))
      .find((path) => existsSync(path));
    if (place !== undefined) chownSync(source, statSync(place).uid, statSync(place).gid);
    return { source, target, readOnly: volume.endsWith(":ro") };
  }

  async #here(self: string, value: string, mounts: readonly Mount[]): Promise<string> {
    const mount = mounts.find(({ target }) => value.startsWith(target));
    if (mount !== undefined) return whyNoOwnFiles === undefined ? value : value.replace(mount.target, `${mount.source}`);
    const [, before = "", host = "", port = ""] = value.match(/^([a-z]+:\/\/)?([\w.-]+):(\d+)$/) ?? [];
    if (host in services || host === "0.0.0.0")
      return `${before}${await this.addressOf(`${host === "0.0.0.0" ? self : host}:${port}`)}`;
    return value;
  }

  async #port(address: string): Promise<number> {
    const known = this.#ports.get(address);
    if (known !== undefined) return known;
    const port = await freePort();
    this.#ports.set(address, port);
    return port;
  }
}

function serviceOf(name: string): ComposeService {
  const service = services[name];
  if (service === undefined) throw new Error(`deploy/compose.yaml has no service ${name}`);
  return service;
}
