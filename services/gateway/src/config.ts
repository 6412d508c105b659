import { env, processConfigShape, samplingConfigShape, tracingConfigShape } from "@moiety/runtime";
import { z } from "zod";
import { jwtConfigShape } from "./auth/jwt-config.js";
import { tenantConfigShape } from "./tenants/tenant-config.js";

/** Everything that a gateway can be told. */
export const gatewayConfigSchema = z.object({
  ...processConfigShape,
  ...tracingConfigShape,
  ...samplingConfigShape,
  MOIETY_HTTP_PORT: env
    .integer({ min: 0, max: 65_535, fallback: 8080 })
    .describe("port of the API, /health, /ready and, without MOIETY_METRICS_PORT, /metrics"),
  MOIETY_METRICS_PORT: env
    .optionalInteger({ min: 0, max: 65_535 })
    .describe("port of /metrics, /health and /ready apart from the API, which then has no metrics; 0: any free one"),
  MOIETY_GATEWAY_ID: env.text("gateway").describe("name of this process in logs and metrics"),
  MOIETY_MODEL: env
    .text()
    .describe(
      "folder of the checkpoint; its weights are optional and only identify it: a worker of another checkpoint is then noticed",
    ),
  MOIETY_MODEL_NAME: z.string().min(1).optional().describe("name of the model in the API; default: the checkpoint folder's name"),
  MOIETY_REDIS_URL: env.text("redis://127.0.0.1:6379").describe("Redis that holds the queue and the token logs"),
  MOIETY_REDIS_PREFIX: env.text("moiety").describe("keeps clusters apart that share a Redis"),
  MOIETY_MAX_REQUESTS: env
    .integer({ min: 1, max: 1_000_000, fallback: 4_096 })
    .describe("requests that may wait or be served at once, over all gateways; more are answered with 429"),
  MOIETY_LAME_DUCK_MS: env
    .integer({ min: 0, max: 600_000, fallback: 0 })
    .describe(
      "after SIGTERM and before it drains: how long it still takes requests, for load balancers to notice; every answer ends its connection",
    ),
  MOIETY_MAX_STREAMS: env
    .integer({ min: 1, max: 100_000, fallback: 4_096 })
    .describe("HTTP requests that this gateway serves at once; more are answered with 429"),
  MOIETY_MAX_CHOICES: env
    .integer({ min: 1, max: 1_024, fallback: 128 })
    .describe("completions that one HTTP request may ask for: prompts times n"),
  MOIETY_MAX_BODY_BYTES: env
    .integer({ min: 1_024, max: 268_435_456, fallback: 8_388_608 })
    .describe("longest body of an HTTP request"),
  MOIETY_REQUEST_TIMEOUT_MS: env
    .integer({ min: 1_000, max: 86_400_000, fallback: 1_800_000 })
    .describe("a request that has not finished by then ends with an error"),
  MOIETY_SSE_KEEP_ALIVE_MS: env
    .integer({ min: 100, max: 600_000, fallback: 10_000 })
    .describe("silence on a stream after which a comment is sent"),
  MOIETY_SLOW_CLIENT_TIMEOUT_MS: env
    .integer({ min: 100, max: 3_600_000, fallback: 60_000 })
    .describe("how long a client may leave its stream unread before the request is cancelled"),
  MOIETY_FILES_DIR: z
    .string()
    .min(1)
    .optional()
    .describe(
      "folder of uploaded files and of batches' results, the same for all gateways; without it or a bucket there are no files and batches",
    ),
  MOIETY_FILES_S3_URL: z
    .url({ protocol: /^https?$/, error: "expected a URL of http or https that ends in the bucket's name" })
    .optional()
    .describe("bucket of an S3-compatible store for files, before MOIETY_FILES_DIR: https://HOST/BUCKET"),
  MOIETY_FILES_S3_REGION: env.text("auto").describe("region of the bucket"),
  MOIETY_FILES_S3_KEY_ID: z.string().default("").describe("access key of the bucket; absent: requests are not signed"),
  MOIETY_FILES_S3_SECRET: z.string().default("").describe("secret of the access key"),
  MOIETY_MAX_FILE_BYTES: env
    .integer({ min: 1_024, max: 17_179_869_184, fallback: 209_715_200 })
    .describe("longest file that may be uploaded"),
  MOIETY_MAX_FILES: env.integer({ min: 1, max: 1_000_000, fallback: 10_000 }).describe("files that a tenant may keep"),
  MOIETY_MAX_FILES_BYTES: env
    .integer({ min: 1_024, max: 1_099_511_627_776, fallback: 10_737_418_240 })
    .describe("bytes of all files that a tenant may keep"),
  MOIETY_BATCH_LINES: env
    .integer({ min: 0, max: 4_096, fallback: 8 })
    .describe("lines of batches that this gateway runs at once; 0: it leaves them to other gateways"),
  MOIETY_BATCH_LEASE_MS: env
    .integer({ min: 500, max: 600_000, fallback: 10_000 })
    .describe("how long after its gateway died a batch is taken over by another"),
  MOIETY_MAX_BATCHES: env
    .integer({ min: 1, max: 100_000, fallback: 100 })
    .describe("batches of a tenant that may be open at once; more are answered with 429"),
  MOIETY_MAX_BATCH_LINES: env.integer({ min: 1, max: 1_000_000, fallback: 50_000 }).describe("requests that a batch may have"),
  MOIETY_RESPONSES_TTL_MS: env
    .integer({ min: 1_000, max: 31_536_000_000, fallback: 2_592_000_000 })
    .describe("how long a response is stored after it was made, or last continued"),
  MOIETY_RESPONSES_MAX_BYTES: env
    .integer({ min: 65_536, max: 1_099_511_627_776, fallback: 268_435_456 })
    .describe("how much of Redis the stored responses of one tenant may take; the oldest make room"),
  MOIETY_API_KEYS: z
    .string()
    .optional()
    .describe(
      "keys that clients must present, separated by commas: tenant:key, tenant/name:key, or key alone; sha256:HASH may stand for a key",
    ),
  MOIETY_API_KEYS_FILE: z.string().optional().describe("file with one key a line, like MOIETY_API_KEYS"),
  MOIETY_ADMIN_KEY: z
    .string()
    .optional()
    .describe("key of /admin/v1, where API keys are created and revoked; with it every client needs a key"),
  MOIETY_ADMIN_KEY_FILE: z.string().optional().describe("file that holds the admin key, in place of MOIETY_ADMIN_KEY"),
  ...jwtConfigShape,
  ...tenantConfigShape,
});

export type GatewayConfig = z.output<typeof gatewayConfigSchema>;
