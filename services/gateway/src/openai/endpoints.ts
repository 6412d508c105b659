import { AppError } from "@moiety/core";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { GatewayContext } from "../gateway-context.js";
import { openApiDocument } from "../openapi/document.js";
import { addResponseRoutes } from "../responses/response-routes.js";
import { checkBodyShape } from "./body-limits.js";
import { createChatCompletion } from "./chat-completions.js";
import { createCompletion } from "./completions.js";
import { describeForApi } from "./models.js";
import { detokenize, tokenize } from "./tokenize.js";
import { whyUnsupported } from "./unsupported-endpoints.js";

type Methods = readonly (readonly [path: RegExp, ...methods: string[]])[];

const METHODS: Methods = [
  [/^\/v1\/(chat\/)?completions$/, "POST"],
  [/^\/v1\/models(\/|$)/, "GET"],
  [/^\/v1\/responses(\/resp_\w+\/cancel)?$/, "POST"],
  [/^\/v1\/responses\/resp_\w+$/, "GET", "DELETE"],
  [/^\/v1\/responses\/resp_\w+\/input_items$/, "GET"],
  [/^\/(tokenize|detokenize)$/, "POST"],
  [/^\/(health|ready|load|openapi\.json)$/, "GET"],
];
const METRICS_METHODS: Methods = [[/^\/metrics$/, "GET"]];
const FILE_METHODS: Methods = [
  [/^\/v1\/(files|batches)$/, "GET", "POST"],
  [/^\/v1\/files\/[^/]+$/, "GET", "DELETE"],
  [/^\/v1\/files\/[^/]+\/content$/, "GET"],
  [/^\/v1\/batches\/[^/]+$/, "GET"],
  [/^\/v1\/batches\/[^/]+\/cancel$/, "POST"],
];

/** Takes no body. */
const CANCEL_PATH = "/v1/responses/:id/cancel";

/** The routes under `/v1`, and those beside it that vLLM has. */
export function addOpenAiRoutes(app: FastifyInstance, context: GatewayContext): void {
  app.addHook("preHandler", async (request) => {
    if (request.method === "POST" && request.routeOptions.url !== CANCEL_PATH) checkBodyShape(request.body);
  });
  app.post("/v1/chat/completions", (request, reply) => createChatCompletion(context, request, reply));
  app.post("/v1/completions", (request, reply) => createCompletion(context, request, reply));
  addResponseRoutes(app, context);
  app.post("/tokenize", (request) => tokenize(context, request.body));
  app.post("/detokenize", async (request) => detokenize(context, request.body));
  app.get("/openapi.json", async () => openApiDocument());
  app.get("/load", async () => ({ server_load: context.load() }));
  app.get("/v1/models", async () => ({ object: "list", data: [describeForApi(context.model, context.workers.contextTokens)] }));
  app.get<{ Params: { "*": string } }>("/v1/models/*", async (request) => {
    if (request.params["*"] === context.model.name) return describeForApi(context.model, context.workers.contextTokens);
    throw new AppError("NOT_FOUND", "there is no such model here", {
      details: { param: "model", openaiCode: "model_not_found" },
    });
  });
}

/** The error for a request that no route takes. `allow` lists the methods that the path wants. */
export function noRoute(request: FastifyRequest): { readonly error: AppError; readonly allow?: string } {
  const path = request.url.split("?")[0] ?? "";
  const has = (url: string) => request.server.hasRoute({ method: "GET", url });
  const known = [...METHODS, ...(has("/v1/files") ? FILE_METHODS : []), ...(has("/metrics") ? METRICS_METHODS : [])];
  const [, ...methods] = known.find(([pattern]) => pattern.test(path)) ?? [];
  if (methods.length > 0) {
    const details = { httpStatus: 405, openaiCode: "method_not_allowed" };
    const message = `expected ${methods.join(" or ")} for this path`;
    return { error: new AppError("INVALID_ARGUMENT", message, { details }), allow: methods.join(", ") };
  }
  const reason = whyUnsupported(path);
  if (reason !== undefined) {
    return { error: new AppError("UNIMPLEMENTED", reason, { details: { openaiCode: "unsupported_endpoint" } }) };
  }
  return { error: new AppError("NOT_FOUND", "there is no such endpoint", { details: { openaiCode: "unknown_url" } }) };
}
