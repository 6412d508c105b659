import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { writeRandomCheckpoint } from "@moiety/model";
import { displayPath } from "../display-path.js";

/** The tiny model of random weights that is served when none is named; made on first use. */
export async function provideDefaultModel(dataDir: string, tell: (line: string) => void): Promise<string> {
  const out = join(dataDir, "models", "default");
  // config.json is written last: without it the folder is the rest of an interrupted attempt.
  if (existsSync(join(out, "config.json"))) return out;
  tell(`making a tiny model of random weights in ${displayPath(out)}`);
  await rm(out, { recursive: true, force: true });
  await writeRandomCheckpoint({ out, like: "tiny", seed: 0 });
  return out;
}
