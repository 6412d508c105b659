import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { REPOSITORY } from "./repository.js";

export interface Mount {
  /** A folder of this machine, or the layers of an image, uppermost first. */
  readonly source: string | readonly string[];
  /** Is made if it is not there. */
  readonly target: string;
  readonly readOnly: boolean;
}

/**
 * A file system as a container has it, in a mount namespace and below a root of its own: layers, and the system's folders of this machine,
 * which stand for those of the base image. Networks, process ids and limits are those of this machine.
 */
export interface Container {
  /** An empty folder to mount on. Nothing of it is seen outside, and many processes may use it at once. */
  readonly place: string;
  /** Uppermost first. */
  readonly layers: readonly string[];
  /** Where what is written is kept, as the layer above, beside a folder for the kernel; otherwise it is gone with the process. */
  readonly kept?: { readonly layer: string; readonly work: string };
  readonly readOnly: boolean;
  readonly mounts: readonly Mount[];
  /** As Compose has them: `/tmp:size=64m,mode=1777`. */
  readonly tmpfs: readonly string[];
  /** `uid:gid`. Root keeps its capabilities, others have none. */
  readonly user: string;
  readonly cwd: string;
}

const DEVICES = ["null", "zero", "full", "random", "urandom", "tty"];
/** What a base image has. What is written there is never kept. */
const SYSTEM = readdirSync("/", { withFileTypes: true }).filter(({ name }) =>
  /^(bin|etc|home|lib\w*|nix|opt|root|sbin|usr|var)$/.test(name),
);
/** File systems of their own in there: a mount of a folder does not show what is mounted below it. */
const MOUNTED_HERE = readFileSync("/proc/self/mounts", "utf8")
  .split("\n")
  .map((line) => line.split(" ")[1] ?? "")
  .filter((path) => SYSTEM.some(({ name }) => path.startsWith(`/${name}/`)) && !`${REPOSITORY}/`.startsWith(`${path}/`))
  .filter((path) => !path.includes("\\"));

/** The words that run a command in a container, as one process: its id is that of the command. */
export function inContainer(container: Container, words: readonly string[]): readonly string[] {
  return ["unshare", "--mount", "/bin/sh", "-ec", script(container), "container", ...words];
}

/** Why this machine cannot run one, or keep what is written in it, such as that the tests are not run by root; undefined: it can. */
export function whyNoContainers(what: "run" | "kept" = "run"): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "moiety-container-"));
  const place = join(folder, "place");
  const layer = join(folder, "layer");
  const work = join(folder, "work");
  for (const path of [place, layer, work]) mkdirSync(path);
  const kept = what === "kept" ? { kept: { layer, work } } : {};
  const common = { place, layers: [], readOnly: what === "run", mounts: [], tmpfs: ["/tmp"], user: "10001:10001", cwd: "/" };
  const [file = "", ...args] = inContainer({ ...common, ...kept }, ["node", "--version"]);
  const { status, stderr, error } = spawnSync(file, args, { encoding: "utf8" });
  rmSync(folder, { recursive: true });
  return status === 0 ? undefined : (error?.message ?? stderr.trim());
}

function script(container: Container): string {
  const { place, layers, kept, readOnly, mounts, tmpfs, user, cwd } = container;
  const base = join(place, "base");
  const root = join(place, "root");
  const changes = kept ?? { layer: join(place, "layer"), work: join(place, "work") };
  const folders = SYSTEM.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const links = SYSTEM.filter((entry) => entry.isSymbolicLink()).map(({ name }) => name);
  return [
    `mount -t tmpfs -o mode=755 tmpfs ${quote(place)}`,
    `mkdir -p ${[base, root, changes.layer, changes.work].map(quote).join(" ")}`,
    `cd ${quote(base)}`,
    `mkdir proc sys dev ${folders.join(" ")}`,
    ...links.map((name) => `ln -s ${quote(readlinkSync(`/${name}`))} ${name}`),
    overlay({ lower: [...layers, base], upper: changes, target: root }),
    `cd ${quote(root)}`,
    ...folders.map((name) => (readOnly ? bind(`/${name}`, `/${name}`, true) : scratch(name, place))),
    ...MOUNTED_HERE.map((path) => `if [ -e .${quote(path)} ]; then ${bind(path, path, true)}; fi`),
    // Nothing comes from the working tree but through the layers.
    `if [ -d .${quote(REPOSITORY)} ]; then mount -t tmpfs -o ro tmpfs .${quote(REPOSITORY)}; fi`,
    "mount --bind /proc proc",
    bind("/sys", "/sys", true),
    "mount -t tmpfs -o mode=755 tmpfs dev",
    ...DEVICES.map((name) => `: > dev/${name}; mount --bind /dev/${name} dev/${name}`),
    "ln -s /proc/self/fd dev/fd",
    "mount -o remount,ro dev",
    ...tmpfs.map((each) => {
      const [target = "", given = "mode=1777"] = each.split(":");
      return `mkdir -p .${target}; mount -t tmpfs -o ${given} tmpfs .${target}`;
    }),
    ...mounts.flatMap(({ source, target, readOnly: isReadOnly }) => [
      `mkdir -p .${quote(target)}`,
      typeof source === "string" ? bind(source, target, isReadOnly) : overlay({ lower: [...source, base], target: `.${target}` }),
    ]),
    ...(readOnly ? [`mount -o remount,ro ${quote(root)}`] : []),
    `exec chroot . env -C ${quote(cwd)} ${become(user)} "$@"`,
  ].join("\n");
}

/** A folder of this machine that may be written, but is not changed. */
function scratch(name: string, place: string): string {
  const upper = { layer: join(place, `${name}-layer`), work: join(place, `${name}-work`) };
  return `mkdir ${quote(upper.layer)} ${quote(upper.work)}; ${overlay({ lower: [`/${name}`], upper, target: name })}`;
}

function overlay(parts: {
  readonly lower: readonly string[];
  readonly upper?: { readonly layer: string; readonly work: string };
  readonly target: string;
}): string {
  const { lower, upper, target } = parts;
  const above = upper === undefined ? "" : `,upperdir=${upper.layer},workdir=${upper.work}`;
  return `mount -t overlay -o ${quote(`lowerdir=${lower.join(":")}${above}`)} overlay ${quote(target)}`;
}

function become(user: string): string {
  const [uid = "", gid = ""] = user.split(":");
  if (uid === "0") return "";
  return `setpriv --reuid ${uid} --regid ${gid} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all`;
}

function bind(source: string, target: string, isReadOnly: boolean): string {
  const there = `.${quote(target)}`;
  return `mount --bind ${quote(source)} ${there}${isReadOnly ? `; mount -o remount,bind,ro ${there}` : ""}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
