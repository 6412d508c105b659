import type { z } from "zod";
import { chatRequestSchema } from "../openai/chat-request.js";
import { completionRequestSchema } from "../openai/completion-request.js";
import { detokenizeRequestSchema, tokenizeChatSchema, tokenizeTextSchema } from "../openai/tokenize.js";
import {
  chatAnswer,
  chatChunk,
  completionAnswer,
  completionChunk,
  detokenizeAnswer,
  errorAnswer,
  healthAnswer,
  loadAnswer,
  modelAnswer,
  modelsAnswer,
  readyAnswer,
  tokenizeAnswer,
} from "./answers.js";
import { answerJsonSchema, type JsonSchema, requestJsonSchema } from "./json-schema.js";

interface Operation {
  readonly method: "get" | "post";
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  /** Names of schemas; a body is one of them. */
  readonly body?: readonly (keyof typeof REQUESTS)[];
  readonly answer?: keyof typeof ANSWERS;
  /** What the data of each event of a stream is. */
  readonly chunk?: keyof typeof ANSWERS;
  /** Needs no key. */
  readonly open?: true;
  readonly parameters?: readonly JsonSchema[];
  /** Of another status than 200. */
  readonly also?: Readonly<Record<string, JsonSchema>>;
}

const REQUESTS = {
  ChatRequest: chatRequestSchema,
  CompletionRequest: completionRequestSchema,
  TokenizeTextRequest: tokenizeTextSchema,
  TokenizeChatRequest: tokenizeChatSchema,
  DetokenizeRequest: detokenizeRequestSchema,
} satisfies Readonly<Record<string, z.ZodType>>;

const ANSWERS = {
  Error: errorAnswer,
  ChatCompletion: chatAnswer,
  ChatCompletionChunk: chatChunk,
  Completion: completionAnswer,
  CompletionChunk: completionChunk,
  Model: modelAnswer,
  Models: modelsAnswer,
  Tokenized: tokenizeAnswer,
  Detokenized: detokenizeAnswer,
  Load: loadAnswer,
  Health: healthAnswer,
  Ready: readyAnswer,
} satisfies Readonly<Record<string, z.ZodType>>;

const MODEL_PARAMETER = { name: "model", in: "path", required: true, schema: { type: "string", maxLength: 256 } };

const OPERATIONS: readonly Operation[] = [
  {
    method: "post",
    path: "/v1/chat/completions",
    id: "createChatCompletion",
    summary: "Answer a chat",
    body: ["ChatRequest"],
    answer: "ChatCompletion",
    chunk: "ChatCompletionChunk",
  },
  {
    method: "post",
    path: "/v1/completions",
    id: "createCompletion",
    summary: "Go on from a text or from token ids",
    body: ["CompletionRequest"],
    answer: "Completion",
    chunk: "CompletionChunk",
  },
  { method: "get", path: "/v1/models", id: "listModels", summary: "The one model that is served", answer: "Models" },
  {
    method: "get",
    path: "/v1/models/{model}",
    id: "retrieveModel",
    summary: "The model, by its name",
    answer: "Model",
    parameters: [MODEL_PARAMETER],
  },
  {
    method: "post",
    path: "/tokenize",
    id: "tokenize",
    summary: "The tokens of a text or a chat",
    body: ["TokenizeTextRequest", "TokenizeChatRequest"],
    answer: "Tokenized",
  },
  {
    method: "post",
    path: "/detokenize",
    id: "detokenize",
    summary: "The text of tokens",
    body: ["DetokenizeRequest"],
    answer: "Detokenized",
  },
  { method: "get", path: "/load", id: "load", summary: "How busy this gateway is", answer: "Load", open: true },
  { method: "get", path: "/health", id: "health", summary: "Whether this process lives", answer: "Health", open: true },
  {
    method: "get",
    path: "/ready",
    id: "ready",
    summary: "Whether requests can be answered now, and what is missing",
    answer: "Ready",
    open: true,
    also: { "503": json("Not ready", reference("Ready")) },
  },
  {
    method: "get",
    path: "/metrics",
    id: "metrics",
    summary: "Metrics for Prometheus",
    open: true,
    also: { "200": { description: "Metrics", content: { "text/plain": { schema: { type: "string" } } } } },
  },
];

let made: JsonSchema | undefined;

/** OpenAPI 3.1 of everything that the gateway serves, made of the schemas that requests are parsed with. */
export function openApiDocument(): JsonSchema {
  made ??= {
    openapi: "3.1.0",
    info: {
      title: "Moiety",
      version: "0.1.0",
      description: "The OpenAI API for gpt-oss. Unknown fields of a request are ignored; null is a field that was not given.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ apiKey: [] }, {}],
    paths: paths(),
    components: {
      securitySchemes: { apiKey: { type: "http", scheme: "bearer", description: "Needed where the gateway has keys." } },
      schemas: schemas(),
    },
  };
  return made;
}

function schemas(): JsonSchema {
  const requests = Object.entries(REQUESTS).map(([name, schema]) => [name, requestJsonSchema(schema)]);
  const answers = Object.entries(ANSWERS).map(([name, schema]) => [name, answerJsonSchema(schema)]);
  return Object.fromEntries([...requests, ...answers]);
}

function paths(): JsonSchema {
  const byPath: Record<string, Record<string, unknown>> = {};
  for (const operation of OPERATIONS) {
    byPath[operation.path] = { ...byPath[operation.path], [operation.method]: describe(operation) };
  }
  return byPath;
}

function describe({ id, summary, body, answer, chunk, open, parameters, also }: Operation): JsonSchema {
  const schema = body?.length === 1 ? reference(body[0] ?? "") : { anyOf: body?.map(reference) };
  return {
    operationId: id,
    summary,
    ...(open ? { security: [] } : {}),
    ...(parameters ? { parameters } : {}),
    ...(body ? { requestBody: { required: true, content: { "application/json": { schema } } } } : {}),
    responses: {
      ...(answer ? { "200": success(answer, chunk) } : {}),
      ...also,
      default: json("An error", reference("Error")),
    },
  };
}

function success(answer: string, chunk: string | undefined): JsonSchema {
  const whole = json("The answer", reference(answer));
  if (chunk === undefined) return whole;
  const description = `Server-sent events. The data of each is a ${chunk} or, where a stream fails, an Error; the last is [DONE].`;
  return { ...whole, content: { ...whole.content, "text/event-stream": { schema: { type: "string", description } } } };
}

function reference(name: string): JsonSchema {
  return { $ref: `#/components/schemas/${name}` };
}

function json(description: string, schema: JsonSchema): { readonly description: string; readonly content: JsonSchema } {
  return { description, content: { "application/json": { schema } } };
}
