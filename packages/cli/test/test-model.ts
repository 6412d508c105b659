import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The built `moiety` command. */
export const moiety = fileURLToPath(new URL("../bin/moiety.js", import.meta.url));

export interface TestModel {
  /** Folder of the checkpoint. */
  readonly folder: string;
  remove(): Promise<void>;
}

/** Makes a checkpoint of random weights with `moiety make-checkpoint`, in a folder of its own. */
export async function makeModel(...flags: readonly string[]): Promise<TestModel> {
  const parent = await mkdtemp(join(tmpdir(), "moiety-model-"));
  const folder = join(parent, "model");
  await promisify(execFile)(process.execPath, [moiety, "make-checkpoint", folder, ...flags]);
  return { folder, remove: () => rm(parent, { recursive: true, force: true }) };
}
