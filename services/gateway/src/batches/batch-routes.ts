import { AppError } from "@moiety/core";
import { newBatchId, parseBatchId, parseFileId } from "@moiety/queue";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import { expiresAfterFields } from "../files/upload.js";
import type { GatewayContext } from "../gateway-context.js";
import { invalidField } from "../openai/errors.js";
import { describePage, pageFields } from "../openai/list-page.js";
import { metadataSchema, parseBody } from "../openai/request-fields.js";
import { BATCH_ENDPOINTS } from "./batch-endpoints.js";
import { applyEvent, type Batch, findBatch, readBatch } from "./batch-records.js";
import type { BatchService } from "./batch-service.js";
import type { BatchDocument } from "./batch-state.js";
import { parseWindow, WINDOW_EXPECTED } from "./completion-window.js";
import { describeBatch } from "./describe-batch.js";

/** Of output and error files, unless the batch says so itself. */
const OUTPUT_LIFE_MS = 30 * 86_400_000;

const endpoints = [...BATCH_ENDPOINTS.keys()];
export const batchRequestSchema = z.object({
  input_file_id: z.string("expected the id of a file").min(1).max(128),
  endpoint: z.string(`expected one of ${endpoints.join(", ")}`),
  completion_window: z.string(WINDOW_EXPECTED),
  metadata: metadataSchema.optional(),
  output_expires_after: z.object(expiresAfterFields).optional(),
});
export const batchListSchema = z.object(pageFields({ limit: 100, fallback: 20 }));

type WithId = FastifyRequest<{ Params: { id: string } }>;

/** `/v1/batches`. */
export function addBatchRoutes(app: FastifyInstance, context: GatewayContext, service: BatchService): void {
  const { ledgers } = service;
  const find = async (request: WithId): Promise<Batch> => {
    const batch = await ledgers.patiently(findBatch(ledgers.batches, parseBatchId(request.params.id)));
    if (batch === undefined || batch.tenant !== context.tenantOf(request)) {
      throw new AppError("NOT_FOUND", "there is no such batch");
    }
    return batch;
  };
  app.post("/v1/batches", async (request) => describeBatch(await createBatch(context, service, request)));
  app.get("/v1/batches", async (request) => {
    const query = parseBody(batchListSchema, request.query);
    const page = await ledgers.patiently(ledgers.batches.list(context.tenantOf(request), query));
    return describePage(page, (stored) => describeBatch(readBatch(stored)));
  });
  app.get("/v1/batches/:id", async (request: WithId) => describeBatch(await find(request)));
  app.post("/v1/batches/:id/cancel", async (request: WithId) => {
    const { id } = await find(request);
    const event = { kind: "cancel", atMs: context.clock.nowMs() } as const;
    const batch = await ledgers.patiently(applyEvent(ledgers.batches, id, event));
    const { status } = batch.document.state;
    if (status !== "cancelling" && status !== "cancelled") {
      const details = { httpStatus: 409, openaiCode: "batch_not_cancellable" };
      throw new AppError("FAILED_PRECONDITION", `the batch is ${status} and can no longer be cancelled`, { details });
    }
    service.wake();
    return describeBatch(batch);
  });
}

async function createBatch(context: GatewayContext, { ledgers, wake }: BatchService, request: FastifyRequest): Promise<Batch> {
  const body = parseBody(batchRequestSchema, request.body);
  const { config, clock, model } = context;
  const tenant = context.tenantOf(request);
  if (!BATCH_ENDPOINTS.has(body.endpoint)) throw invalidField("endpoint", `expected one of ${endpoints.join(", ")}`);
  const windowMs = parseWindow(body.completion_window);
  if (windowMs === undefined) throw invalidField("completion_window", WINDOW_EXPECTED);
  const createdAtMs = clock.nowMs();
  const inputFileId = parseInputId(body.input_file_id);
  const input = inputFileId && (await ledgers.patiently(ledgers.files.find(inputFileId, tenant, createdAtMs)));
  if (!input) throw new AppError("NOT_FOUND", "there is no such file", { details: { param: "input_file_id" } });
  if (input.purpose !== "batch")
    throw invalidField("input_file_id", 'expected a file that was uploaded with the purpose "batch"');
  const document: BatchDocument = {
    endpoint: body.endpoint,
    model: model.name,
    keyId: context.callerOf(request).keyId,
    inputFileId: input.id,
    completionWindow: body.completion_window,
    createdAtMs,
    expiresAtMs: createdAtMs + windowMs,
    ...(body.metadata === undefined ? {} : { metadata: body.metadata }),
    outputLifeMs: body.output_expires_after === undefined ? OUTPUT_LIFE_MS : body.output_expires_after.seconds * 1_000,
    state: { status: "validating" },
  };
  const id = newBatchId();
  const maxOpen = config.MOIETY_MAX_BATCHES;
  const entry = { id, tenant, inputFileId: input.id, createdAtMs, document: JSON.stringify(document), maxOpen };
  try {
    await ledgers.patiently(ledgers.batches.create(entry));
  } catch (error) {
    // The caller takes it for refused: should Redis hear of it after all, nothing of it runs.
    if (AppError.from(error).code === "UNAVAILABLE") {
      applyEvent(ledgers.batches, id, { kind: "cancel", atMs: clock.nowMs() }).catch(() => undefined);
    }
    throw error;
  }
  wake();
  const tokens = { input: 0, cached: 0, output: 0, reasoning: 0 };
  return { id, tenant, version: 1, completed: 0, failed: 0, tokens, document };
}

function parseInputId(text: string) {
  try {
    return parseFileId(text);
  } catch {
    return undefined;
  }
}
