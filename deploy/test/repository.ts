import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { attentionWorkerConfigSchema } from "../../services/attention-worker/src/config.js";
import { expertWorkerConfigSchema } from "../../services/expert-worker/src/config.js";
import { gatewayConfigSchema } from "../../services/gateway/src/config.js";
import { routerConfigSchema } from "../../services/router/src/config.js";

/** Root of the repository, ends in a slash. */
export const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));

/** The text of a file, by its path in the repository. */
export function readText(path: string): string {
  return readFileSync(`${REPOSITORY}${path}`, "utf8");
}

/** The environment variables that each service reads. */
export const VARIABLES: Readonly<Record<string, readonly string[]>> = {
  gateway: Object.keys(gatewayConfigSchema.shape),
  router: Object.keys(routerConfigSchema.shape),
  "attention-worker": Object.keys(attentionWorkerConfigSchema.shape),
  "expert-worker": Object.keys(expertWorkerConfigSchema.shape),
};
