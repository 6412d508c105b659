import { readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * The processes of a cluster as they are now. An id changes when one is started again.
 *
 * @returns {readonly { name: string, kind: string, pid: number, readyPort: number }[]}
 */
export function clusterProcesses(dataDir) {
  return JSON.parse(readFileSync(join(dataDir, "run.json"), "utf8")).processes;
}
