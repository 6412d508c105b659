import { chmodSync, chownSync, cpSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { asImageUser } from "../../../deploy/test/compose-run.js";
import { REPOSITORY } from "../../../deploy/test/repository.js";
import type { Container, PodSpec } from "../helm.js";

/** Contents of secrets and config maps, by name. */
export type Contents = Readonly<Record<string, Readonly<Record<string, string>>>>;

export interface FileSystemOptions {
  readonly folder: string;
  readonly pod: PodSpec;
  readonly container: Container;
  /** Of secrets and config maps. */
  readonly contents: Contents;
}

interface Volume {
  readonly name: string;
  readonly secret?: { readonly secretName: string; readonly items?: readonly { readonly key: string; readonly path: string }[] };
  readonly configMap?: { readonly name: string };
  readonly emptyDir?: object;
  readonly persistentVolumeClaim?: object;
}

const GROUP = Number(asImageUser[4] ?? -1);

/** What a container finds at its mount paths, in folders of this machine. Only an `emptyDir` may be written by its user. */
export class PodFileSystem {
  readonly #folders: readonly (readonly [mountPath: string, folder: string])[];

  constructor({ folder, pod, container, contents }: FileSystemOptions) {
    mkdirSync(folder, { recursive: true });
    this.#folders = container.volumeMounts
      .map(({ name, mountPath }) => {
        const volume = pod.volumes.find((each) => each["name"] === name) as unknown as Volume;
        const here = join(folder, name);
        fill(here, volume, contents);
        return [mountPath, here] as const;
      })
      .sort(([a], [b]) => b.length - a.length);
  }

  /** A path of the container, or a text that begins with one, as it is here. Others stay. */
  here(text: string): string {
    const found = this.#folders.find(([mountPath]) => text === mountPath || text.startsWith(`${mountPath}/`));
    return found === undefined ? text : `${found[1]}${text.slice(found[0].length)}`;
  }
}

function fill(folder: string, volume: Volume, contents: Contents): void {
  if (volume.emptyDir !== undefined) {
    mkdirSync(folder, { recursive: true });
    if (GROUP >= 0) chownSync(folder, Number(asImageUser[2]), GROUP);
  } else if (volume.persistentVolumeClaim !== undefined) {
    cpSync(`${REPOSITORY}packages/cli/models/moiety-tiny`, folder, { recursive: true });
  } else {
    const name = volume.secret?.secretName ?? volume.configMap?.name ?? "";
    const data = contents[name];
    if (data === undefined) throw new Error(`there is no secret or config map ${name}`);
    const items = volume.secret?.items ?? Object.keys(data).map((key) => ({ key, path: key }));
    for (const { key, path } of items) write(join(folder, path), data[key], volume.secret === undefined ? 0o444 : 0o440);
  }
}

function write(file: string, text: string | undefined, mode: number): void {
  if (text === undefined) throw new Error(`nothing is given for ${file}`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  // As the kubelet does for `fsGroup`.
  if (GROUP >= 0) chownSync(file, 0, GROUP);
  chmodSync(file, mode);
}
