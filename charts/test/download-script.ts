import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("../moiety/files/download.mjs", import.meta.url));

export interface DownloadRun {
  /** model.download.files of the chart. */
  readonly list: readonly { readonly path: string; readonly url: string; readonly sha256: string }[];
  /** Where to; the list is written beside it. */
  readonly folder: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs the chart's download: its exit status, and what it says. */
export async function runDownload({ list, folder, env = {} }: DownloadRun) {
  const file = `${folder}.list.json`;
  writeFileSync(file, JSON.stringify(list));
  const child = spawn(process.execPath, [SCRIPT, file, folder, "id"], { env: { ...process.env, ...env } });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, text };
}
