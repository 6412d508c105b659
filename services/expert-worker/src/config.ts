import { ACTIVATION_CHOICES } from "@moiety/kernels";
import {
  computeConfigShape,
  env,
  processConfigShape,
  routerAddressField,
  tlsConfigShape,
  tracingConfigShape,
} from "@moiety/runtime";
import { z } from "zod";

const GIB = 1024 ** 3;

/** Everything that an expert worker can be told. */
export const expertWorkerConfigSchema = z.object({
  ...processConfigShape,
  ...computeConfigShape,
  ...tlsConfigShape,
  ...tracingConfigShape,
  MOIETY_WORKER_ID: env.text().describe("name of this worker, unique in the cluster and the same after a restart"),
  MOIETY_MODEL: env.text().describe("folder of the checkpoint: config.json and safetensors files"),
  MOIETY_ROUTER_ADDRESS: routerAddressField.default("127.0.0.1:7070").describe(routerAddressField.description ?? ""),
  MOIETY_LISTEN_ADDRESS: env.text("127.0.0.1:0").describe("host:port or unix:path of the data plane; port 0: any free one"),
  MOIETY_ADVERTISE_ADDRESS: env
    .text()
    .optional()
    .describe("where attention workers reach it: host, host:port or unix:path; absent: the listen address"),
  MOIETY_ACTIVATION: z
    .enum(ACTIVATION_CHOICES)
    .default("auto")
    .describe(
      "number format of activations; int8: within MXFP4 experts, bf16 elsewhere; auto: int8 where experts are MXFP4, else bf16; the same in the whole cluster",
    ),
  MOIETY_KERNEL_LEVEL: z
    .enum(["scalar", "avx2", "avx512", "neon"])
    .optional()
    .describe("instruction-set level; absent: the best that this CPU has"),
  MOIETY_THREADS: env.integer({ min: 1, max: 1_024, fallback: 2 }).describe("compute threads"),
  MOIETY_CAPACITY_SLOTS: env
    .integer({ min: 0, max: 1_000_000, fallback: 0 })
    .describe("how many (layer, expert) pairs this worker can hold; 0: all of the model"),
  MOIETY_MAX_QUEUED_CALLS: env.integer({ min: 1, max: 100_000, fallback: 512 }).describe("calls that may wait"),
  MOIETY_MAX_QUEUED_BYTES: env
    .integer({ min: 1, max: 64 * GIB, fallback: GIB })
    .describe("bytes of rows, both ways, of the calls that may wait"),
  MOIETY_MAX_CALL_ROWS: env.integer({ min: 1, max: 65_536, fallback: 4_096 }).describe("rows of one call"),
  MOIETY_MAX_BATCH_PAIRS: env
    .integer({ min: 1, max: 1_000_000, fallback: 4_096 })
    .describe("(row, expert) pairs up to which waiting calls of one layer are merged"),
  MOIETY_MAX_RUNNING_BATCHES: env
    .integer({ min: 1, max: 16, fallback: 1 })
    .describe("native calls at once; more hide the gap between two, fewer merge more calls"),
  MOIETY_MAX_LINKS: env.integer({ min: 1, max: 4_096, fallback: 256 }).describe("attention workers linked at once"),
  MOIETY_LINK_OPEN_TIMEOUT_MS: env
    .integer({ min: 100, max: 600_000, fallback: 5_000 })
    .describe("how long an attention worker may take to open its half of a link"),
  MOIETY_EXPERT_DRAIN_MS: env
    .integer({ min: 0, max: 3_600_000, fallback: 10_000 })
    .describe("how long an expert is kept after a newer placement took it away"),
  MOIETY_HAND_OVER_MS: env
    .integer({ min: 0, max: 3_600_000, fallback: 15_000 })
    .describe("how long a leaving worker waits for others to take over its experts; below MOIETY_DRAIN_TIMEOUT_MS"),
});

export type ExpertWorkerConfig = z.output<typeof expertWorkerConfigSchema>;
