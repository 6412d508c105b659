import { fileURLToPath } from "node:url";
import { planCommand } from "../../packages/cli/src/commands/plan.js";
import { printed } from "./printed.js";

const TINY = fileURLToPath(new URL("../../packages/cli/models/moiety-tiny", import.meta.url));
const MEASURED = fileURLToPath(new URL("../../packages/cli/fixtures/recorded-bench.json", import.meta.url));

/** Fleets of all sizes, as arguments of `moiety plan`. */
export const PLANS: Readonly<Record<string, readonly string[]>> = {
  "20b on laptops": ["--shape", "20b", "--device", "laptop", "--batch", "8", "--context", "8192"],
  "120b on GPUs of 24 GB": ["--shape", "120b", "--device", "l4", "--batch", "16", "--replicas", "2"],
  "120b for very many": ["--shape", "120b", "--device", "h200", "--attention", "16", "--batch", "16384", "--context", "1024"],
  "20b on a measured machine": ["--shape", "20b", "--measured", MEASURED, "--batch", "1,8"],
  "a checkpoint": [TINY, "--attention-device", "laptop", "--expert-device", "l4", "--experts", "2", "--threads", "2"],
};

/** What `moiety plan --values` prints. */
export const planned = (...argv: readonly string[]) => printed(planCommand(), ...argv, "--values");
