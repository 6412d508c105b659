import { AppError } from "@moiety/core";
import { type FileId, type FileRecord, parseFileId } from "@moiety/queue";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { BatchService } from "../batches/batch-service.js";
import type { GatewayContext } from "../gateway-context.js";
import { describePage, pageFields } from "../openai/list-page.js";
import { parseBody } from "../openai/request-fields.js";
import { contentName, describeFile, fileFolder } from "./stored-file.js";
import { receiveFile } from "./upload.js";

export const fileListSchema = z.object({
  ...pageFields({ limit: 10_000, fallback: 1_000 }),
  purpose: z.string().max(64).optional(),
});

type WithId = FastifyRequest<{ Params: { id: string } }>;

/** `/v1/files`. */
export function addFileRoutes(app: FastifyInstance, context: GatewayContext, service: BatchService): void {
  const { ledgers, store } = service;
  const { clock } = context;

  const find = async (request: WithId): Promise<FileRecord> => {
    const id = parseFileId(request.params.id);
    const file = await ledgers.patiently(ledgers.files.find(id, context.tenantOf(request), clock.nowMs()));
    if (file === undefined) throw noSuchFile();
    return file;
  };

  const remove = async (request: WithId): Promise<FileId> => {
    const id = parseFileId(request.params.id);
    const removal = await ledgers.patiently(ledgers.files.hide(id, context.tenantOf(request), clock.nowMs()));
    if (removal === "not-found") throw noSuchFile();
    if (removal === "in-use") {
      const message = "the file is the input of a batch that has not ended; cancel the batch first";
      throw new AppError("FAILED_PRECONDITION", message, { details: { httpStatus: 409, openaiCode: "file_in_use" } });
    }
    await store.removeFolder(fileFolder(id));
    await ledgers.patiently(ledgers.files.forget(id));
    return id;
  };

  const sendContent = async (request: WithId, reply: FastifyReply) => {
    const file = await find(request);
    const content = await store.read(contentName(file.id, file.place));
    return reply
      .type("application/octet-stream")
      .header("content-length", file.bytes)
      .header("content-disposition", `attachment; filename*=UTF-8''${encodeURIComponent(file.name)}`)
      .header("x-content-type-options", "nosniff")
      .send(content);
  };

  app.post("/v1/files", async (request) => describeFile(await receiveFile(context, service, request)));
  app.get("/v1/files", async (request) => {
    const { purpose, ...page } = parseBody(fileListSchema, request.query);
    const query = { ...page, nowMs: clock.nowMs(), ...(purpose === undefined ? {} : { purpose }) };
    return describePage(await ledgers.patiently(ledgers.files.list(context.tenantOf(request), query)), describeFile);
  });
  app.get("/v1/files/:id", async (request: WithId) => describeFile(await find(request)));
  app.delete("/v1/files/:id", async (request: WithId) => ({ id: await remove(request), object: "file", deleted: true }));
  app.get("/v1/files/:id/content", { exposeHeadRoute: false }, sendContent);
}

const noSuchFile = (): AppError => new AppError("NOT_FOUND", "there is no such file");
