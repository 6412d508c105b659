import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { relative, resolve } from "node:path";
import { AppError } from "@moiety/core";
import type { CheckpointReport } from "@moiety/model";
import { formatValues, gibibytes, modelNameOf } from "../chart-values.js";

/** What the chart takes as a path within the checkpoint. */
const PATH = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;
/** Of the claim, for what a file system takes itself. */
const SPARE_STORAGE = 1.1;
const READ_BYTES = 1 << 20;

export interface DownloadFrom {
  /** The folder as it was given: files' paths are relative to it. */
  readonly folder: string;
  /** Where a folder of the same files is, without a slash at its end. */
  readonly url: string;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Values that make the chart download the files that this checkpoint was read from, each with its SHA-256. Files are read as streams.
 * @throws AppError INVALID_ARGUMENT for a file outside the folder or with a name that the chart refuses, NOT_FOUND for one that cannot be read.
 */
export async function formatDownloadValues(report: CheckpointReport, from: DownloadFrom): Promise<string> {
  const sized = await Promise.all([...report.companionFiles, ...report.files].map((file) => sizeOf(file, from.folder)));
  const totalBytes = sized.reduce((sum, { bytes }) => sum + bytes, 0);
  let doneBytes = 0;
  const files: { path: string; url: string; sha256: string }[] = [];
  for (const { file, path } of sized) {
    const sha256 = await sha256Of(file, (bytes) => {
      doneBytes += bytes;
      from.onProgress(doneBytes, totalBytes);
    });
    files.push({ path, url: `${from.url}/${path}`, sha256 });
  }
  const name = modelNameOf(report.name, from.folder);
  const download = { storage: gibibytes(totalBytes * SPARE_STORAGE), files };
  return formatValues(comment(from.url, { name, count: files.length, totalBytes }), {
    model: { name, source: "download", download },
  });
}

async function sizeOf(file: string, folder: string) {
  const path = relative(resolve(folder), file);
  if (path.startsWith(".."))
    throw new AppError("INVALID_ARGUMENT", `${file} is outside ${folder}: give the folder above, which holds all`);
  if (!PATH.test(path)) throw new AppError("INVALID_ARGUMENT", `the chart takes no file of such a name: ${JSON.stringify(path)}`);
  const { size: bytes } = await stat(file).catch((cause: unknown) => {
    throw new AppError("NOT_FOUND", `${file}: cannot be read`, { cause });
  });
  return { file, path, bytes };
}

async function sha256Of(file: string, onBytes: (count: number) => void): Promise<string> {
  const hash = createHash("sha256");
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: READ_BYTES })) {
      hash.update(chunk);
      onBytes(chunk.length);
    }
  } catch (cause) {
    throw new AppError("NOT_FOUND", `${file}: cannot be read`, { cause });
  }
  return hash.digest("hex");
}

function comment(
  url: string,
  about: { readonly name: string; readonly count: number; readonly totalBytes: number },
): readonly string[] {
  const access = url.startsWith("s3:")
    ? "The bucket's endpoint and key are model.download.s3."
    : "Where the server asks for an Authorization header, its secret is model.download.authorizationSecretName.";
  return [
    `${about.name} from ${url}: ${about.count} files, ${(about.totalBytes / 1e6).toFixed(1)} MB, as \`moiety inspect --download-from\` found them in a folder.`,
    `${access} See docs/kubernetes.md.`,
  ];
}
