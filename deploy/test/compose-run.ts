import { execFile, spawnSync } from "node:child_process";
import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { freePort, ManagedProcess } from "@moiety/testing";
import { type ComposeService, readCompose, targetOf } from "./compose.js";
import { commandOf, instructionsFor, lastOf, pairsOf, readDockerfile } from "./dockerfile.js";
import { REPOSITORY } from "./repository.js";

/** What becomes of the paths of a container. */
interface Places {
  /** /app */
  readonly app: string;
  /** /data */
  readonly data: string;
  /** /models/model */
  readonly model: string;
}

/** A service of the compose file, as processes of this machine: its images' files, entry point, environment and health check. */
export interface ComposeProcess {
  readonly process: ManagedProcess;
  /** Runs the health check of the compose file. */
  isHealthy(): boolean;
}

const dockerfile = readDockerfile("deploy/Dockerfile");
const { services } = readCompose();

/** The user of the images, if this process may become it; then what a container may not write, these processes may not either. */
export const asImageUser: readonly string[] = imageUser();

function imageUser(): readonly string[] {
  const [uid, gid] = lastOf(instructionsFor(dockerfile, "runtime"), "USER").split(":");
  const become = ["setpriv", "--reuid", `${uid}`, "--regid", `${gid}`, "--clear-groups"];
  const tried = spawnSync("setpriv", [...become.slice(1), "node", "--version"]);
  return tried.status === 0 ? become : [];
}

/** A folder laid out as the containers' file systems are, and the processes in it. */
export class ComposeRun {
  readonly folder = mkdtempSync(join(tmpdir(), "moiety-deploy-"));
  readonly #ports = new Map<string, number>();
  readonly #started: ManagedProcess[] = [];

  constructor() {
    chmodSync(this.folder, 0o755);
  }

  /** The folder that is /app of an image. */
  app(target: string): string {
    return join(this.folder, target, "app");
  }

  /** Makes what images have in /app of workspaces, as the Dockerfile does. */
  async pack(workspaces: readonly string[]): Promise<void> {
    const script = `${REPOSITORY}deploy/image/pack.mjs`;
    const each = async (workspace: string) => {
      const app = this.app(basename(workspace));
      await promisify(execFile)(process.execPath, [script, workspace, app]);
      for (const name of ["start.mjs", "healthcheck.mjs"]) cpSync(`${REPOSITORY}deploy/image/${name}`, join(app, name));
    };
    await Promise.all(workspaces.map(each));
  }

  /** Starts a service whose image has been packed. */
  async start(name: string): Promise<ComposeProcess> {
    const service = serviceOf(name);
    const target = targetOf(service) ?? "";
    const places = this.#layOut(name, target, service);
    const instructions = instructionsFor(dockerfile, target);
    const env: Record<string, string> = {};
    for (const [key, value] of Object.entries({ ...pairsOf(instructions, "ENV"), ...service.environment }))
      env[key] = await this.#here(name, key === "MOIETY_HTTP_PORT" ? `${name}:${value}` : value, places);
    env["MOIETY_HTTP_PORT"] = `${env["MOIETY_HTTP_PORT"]}`.split(":").at(-1) ?? "";
    const command = (words: readonly string[]) => [
      ...asImageUser,
      ...words.map((word) => word.replace(/^\/app\//, `${places.app}/`)),
    ];
    const [file = "", ...args] = command(commandOf(lastOf(instructions, "ENTRYPOINT")));
    const process = this.#spawn({ name, file, args, env, cwd: places.app });
    const [probe = "", ...probeArgs] = command(service.healthcheck.test.slice(1));
    const environment = { PATH: globalThis.process.env["PATH"], ...env };
    return { process, isHealthy: () => spawnSync(probe, probeArgs, { env: environment, cwd: places.app }).status === 0 };
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

  #layOut(name: string, target: string, service: ComposeService): Places {
    const places = { app: this.app(target), data: join(this.folder, name, "data"), model: join(this.folder, "model") };
    mkdirSync(places.data, { recursive: true });
    if (asImageUser.length > 0) chownSync(places.data, Number(asImageUser[2]), Number(asImageUser[4]));
    for (const volume of service.volumes) {
      if (typeof volume === "string" || volume.target !== "/models/model") continue;
      cpSync(join(REPOSITORY, "deploy", volume.source), places.model, { recursive: true });
    }
    return places;
  }

  async #here(self: string, value: string, { data, model }: Places): Promise<string> {
    if (value.startsWith("/models/model")) return value.replace("/models/model", model);
    if (value.startsWith("/data")) return value.replace("/data", data);
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
