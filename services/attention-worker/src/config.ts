import { cpus, hostname } from "node:os";
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

/** Everything that an attention worker can be told. */
export const attentionWorkerConfigSchema = z
  .object({
    ...processConfigShape,
    ...computeConfigShape,
    ...tlsConfigShape,
    ...tracingConfigShape,
    MOIETY_MODEL: env.text().describe("directory of the checkpoint"),
    MOIETY_MODEL_NAME: z.string().min(1).optional().describe("model_name of the metrics; absent: the directory's name"),
    MOIETY_REDIS_URL: env.text("redis://127.0.0.1:6379").describe("Redis of the queue and the token logs"),
    MOIETY_REDIS_PREFIX: env.text("moiety").describe("keeps clusters apart that share a Redis"),
    MOIETY_ROUTER_ADDRESS: routerAddressField
      .optional()
      .describe(`${routerAddressField.description}; not needed when co-located`),
    MOIETY_WORKER_ID: env.text(`attention-${hostname()}-${process.pid}`).describe("unique among all workers of the cluster"),
    MOIETY_LISTEN_ADDRESS: env
      .text("127.0.0.1:0")
      .describe("host:port or unix:path where expert workers pull their calls; port 0: any free one"),
    MOIETY_ADVERTISE_ADDRESS: z
      .string()
      .min(1)
      .optional()
      .describe("where expert workers reach it: host, host:port or unix:path; absent: the listen address"),
    MOIETY_COLOCATED: env.flag(false).describe("hold all experts in this process and call no expert worker"),
    MOIETY_THREADS: env.integer({ min: 1, max: 256, fallback: cpus().length }).describe("compute threads"),
    MOIETY_KERNEL_LEVEL: z
      .enum(["scalar", "avx2", "avx512", "neon"])
      .optional()
      .describe("instruction set of the kernels; absent: the best of this CPU"),
    MOIETY_ACTIVATION: z
      .enum(ACTIVATION_CHOICES)
      .default("auto")
      .describe(
        "number format of activations and of the KV cache; int8: bf16, but int8 within MXFP4 experts; auto: int8 where experts are MXFP4, else bf16",
      ),
    MOIETY_KV_TOKENS: env
      .integer({ min: 1, max: 1 << 30, fallback: 32_768 })
      .describe(
        "tokens whose keys and values fit into memory; also the longest prompt plus output. Equal on all attention workers",
      ),
    MOIETY_KV_PAGE_TOKENS: env.integer({ min: 1, max: 1_024, fallback: 16 }).describe("tokens per page of the KV cache"),
    MOIETY_MAX_SEQUENCES: env.integer({ min: 1, max: 4_096, fallback: 32 }).describe("requests computed at a time"),
    MOIETY_STEP_TOKENS: env
      .integer({ min: 1, max: 16_384, fallback: 512 })
      .describe("tokens of one step, decode and prefill together; at least MOIETY_MAX_SEQUENCES"),
    MOIETY_PREFILL_CHUNK_TOKENS: env
      .integer({ min: 1, max: 16_384, fallback: 256 })
      .describe("tokens of one prompt per step, at most"),
    MOIETY_MICRO_BATCH_MIN_ROWS: env
      .integer({ min: 1, max: 16_384, fallback: 4 })
      .describe("a step may be split into two micro-batches when each gets so many rows; whether that is faster is measured"),
  })
  .refine((config) => config.MOIETY_STEP_TOKENS >= config.MOIETY_MAX_SEQUENCES, {
    path: ["MOIETY_STEP_TOKENS"],
    message: "must be at least MOIETY_MAX_SEQUENCES",
  })
  .refine((config) => config.MOIETY_COLOCATED || config.MOIETY_ROUTER_ADDRESS !== undefined, {
    path: ["MOIETY_ROUTER_ADDRESS"],
    message: "is required unless MOIETY_COLOCATED is true",
  });

export type AttentionWorkerConfig = z.output<typeof attentionWorkerConfigSchema>;
