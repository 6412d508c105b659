import { relative } from "node:path";

/** A path as the user would type it here: relative if it lies below the working directory. */
export function displayPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near === "" || near.startsWith("..") ? path : near;
}
