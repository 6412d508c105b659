import type { FastifyInstance } from "fastify";
import type { GatewayContext } from "../gateway-context.js";
import { createResponse, type ResponsesContext } from "./create-response.js";
import { ResponseKeeper } from "./response-keeper.js";
import { ResponseStore } from "./response-store.js";
import { cancelResponse, deleteResponse, listInputItems, retrieveResponse } from "./stored-responses.js";

/** The routes under `/v1/responses`. */
export function addResponseRoutes(app: FastifyInstance, gateway: GatewayContext): void {
  const { config, clock, logger } = gateway;
  const store = new ResponseStore({
    redisUrl: config.MOIETY_REDIS_URL,
    prefix: config.MOIETY_REDIS_PREFIX,
    ttlMs: config.MOIETY_RESPONSES_TTL_MS,
    maxTenantBytes: config.MOIETY_RESPONSES_MAX_BYTES,
    clock,
    onError: (error) => logger.warn({ err: error }, "responses' store fault"),
  });
  const keeper = new ResponseKeeper(gateway, store);
  const context: ResponsesContext = { gateway, store, keeper };
  app.addHook("onClose", async () => {
    await keeper.close();
    await store.close();
  });
  app.post("/v1/responses", (request, reply) => createResponse(context, request, reply));
  app.get("/v1/responses/:id", (request, reply) => retrieveResponse(context, request, reply));
  app.get("/v1/responses/:id/input_items", (request) => listInputItems(context, request));
  app.register(async (scope) => {
    // Clients say that they send JSON, and send nothing.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "string" }, (_request, _body, done) => done(null, {}));
    scope.post("/v1/responses/:id/cancel", (request, reply) => cancelResponse(context, request, reply));
    scope.delete("/v1/responses/:id", (request) => deleteResponse(context, request));
  });
}
