import type { FastifyInstance } from "fastify";
import type { GatewayContext } from "../gateway-context.js";
import { createResponse } from "./create-response.js";
import { cancelResponse, deleteResponse, listInputItems, retrieveResponse } from "./stored-responses.js";

/** The routes under `/v1/responses`. */
export function addResponseRoutes(app: FastifyInstance, context: GatewayContext): void {
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
