import { AppError } from "@moiety/core";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { GatewayContext } from "../gateway-context.js";
import { checkBodyShape } from "./body-limits.js";
import { createChatCompletion } from "./chat-completions.js";
import { createCompletion } from "./completions.js";
import { describeForApi } from "./models.js";

/** What OpenAI's API has and a text model does not: prefix, and what it would be. */
const UNSUPPORTED: readonly (readonly [prefix: string, what: string])[] = [
  ["/v1/embeddings", "embeddings"],
  ["/v1/images", "images"],
  ["/v1/audio", "audio"],
  ["/v1/videos", "videos"],
  ["/v1/moderations", "moderations"],
  ["/v1/realtime", "realtime sessions"],
  ["/v1/fine_tuning", "fine-tuning"],
  ["/v1/rerank", "reranking"],
];

const METHODS: readonly (readonly [path: RegExp, method: string])[] = [
  [/^\/v1\/(chat\/)?completions$/, "POST"],
  [/^\/v1\/models(\/|$)/, "GET"],
  [/^\/(health|ready|metrics)$/, "GET"],
];

/** The routes under `/v1`. */
export function addOpenAiRoutes(app: FastifyInstance, context: GatewayContext): void {
  app.addHook("preHandler", async (request) => {
    if (request.method === "POST") checkBodyShape(request.body);
  });
  app.post("/v1/chat/completions", (request, reply) => createChatCompletion(context, request, reply));
  app.post("/v1/completions", (request, reply) => createCompletion(context, request, reply));
  app.get("/v1/models", async () => ({ object: "list", data: [describeForApi(context.model, context.workers.contextTokens)] }));
  app.get<{ Params: { "*": string } }>("/v1/models/*", async (request) => {
    if (request.params["*"] === context.model.name) return describeForApi(context.model, context.workers.contextTokens);
    throw new AppError("NOT_FOUND", "there is no such model here", {
      details: { param: "model", openaiCode: "model_not_found" },
    });
  });
}

/** The error for a request that no route takes. `allow` is the method that the path wants. */
export function noRoute(request: FastifyRequest): { readonly error: AppError; readonly allow?: string } {
  const path = request.url.split("?")[0] ?? "";
  const known = METHODS.find(([pattern]) => pattern.test(path));
  if (known) {
    const details = { httpStatus: 405, openaiCode: "method_not_allowed" };
    return { error: new AppError("INVALID_ARGUMENT", `expected ${known[1]} for this path`, { details }), allow: known[1] };
  }
  const unsupported = UNSUPPORTED.find(([prefix]) => path === prefix || path.startsWith(`${prefix}/`));
  if (unsupported) {
    const details = { openaiCode: "unsupported_endpoint" };
    return {
      error: new AppError("UNIMPLEMENTED", `gpt-oss reads and writes text: ${unsupported[1]} are not available`, { details }),
    };
  }
  return { error: new AppError("NOT_FOUND", "there is no such endpoint", { details: { openaiCode: "unknown_url" } }) };
}
