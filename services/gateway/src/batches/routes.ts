import multipart from "@fastify/multipart";
import { AppError } from "@moiety/core";
import type { FastifyInstance } from "fastify";
import { addFileRoutes } from "../files/file-routes.js";
import type { GatewayContext } from "../gateway-context.js";
import { checkBodyShape } from "../openai/body-limits.js";
import { addBatchRoutes } from "./batch-routes.js";
import type { BatchService } from "./batch-service.js";

const PATHS = [
  ["/v1/files", ["GET", "POST"]],
  ["/v1/files/:id", ["GET", "DELETE"]],
  ["/v1/files/:id/content", ["GET"]],
  ["/v1/batches", ["GET", "POST"]],
  ["/v1/batches/:id", ["GET"]],
  ["/v1/batches/:id/cancel", ["POST"]],
] as const;
const METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"] as const;

/** `/v1/files` and `/v1/batches`. */
export async function addFileAndBatchRoutes(app: FastifyInstance, context: GatewayContext, service: BatchService): Promise<void> {
  await app.register(multipart, {
    throwFileSizeLimit: false,
    limits: {
      fileSize: context.config.MOIETY_MAX_FILE_BYTES,
      files: 1,
      fields: 16,
      parts: 17,
      fieldSize: 4_096,
      headerPairs: 64,
    },
  });
  const parseJson = app.getDefaultJsonParser("error", "error");
  // Clients that set a content type on every request send one with a cancellation too, and no body.
  app.removeContentTypeParser("application/json");
  app.addContentTypeParser<string>("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "") done(null, undefined);
    else parseJson(request, body, done);
  });
  app.addHook("preHandler", async (request) => {
    if (request.method === "POST" && request.routeOptions.url === "/v1/batches") checkBodyShape(request.body);
  });
  addFileRoutes(app, context, service);
  addBatchRoutes(app, context, service);
  for (const [url, allowed] of PATHS) {
    const allow = allowed.join(", ");
    const method = METHODS.filter((each) => !(allowed as readonly string[]).includes(each));
    app.route({
      method,
      url,
      handler: async (_request, reply) => {
        reply.header("allow", allow);
        const details = { httpStatus: 405, openaiCode: "method_not_allowed" };
        throw new AppError("INVALID_ARGUMENT", `expected ${allow} for this path`, { details });
      },
    });
  }
}
