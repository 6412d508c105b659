import { answerJsonSchema, type JsonSchema, requestJsonSchema } from "./json-schema.js";
import { json, type Operation, reference } from "./operation.js";
import { OPERATIONS } from "./operations.js";
import { ANSWERS, REQUESTS } from "./schemas.js";

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
      securitySchemes: {
        apiKey: { type: "http", scheme: "bearer", description: "Needed where the gateway has keys." },
        adminKey: { type: "http", scheme: "bearer", description: "The gateway's admin key." },
      },
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

function describe({ id, summary, body, form, answer, chunk, open, admin, parameters, also }: Operation): JsonSchema {
  const schema = body?.length === 1 ? reference(body[0] ?? "") : { anyOf: body?.map(reference) };
  const content = form ? { "multipart/form-data": { schema: form } } : { "application/json": { schema } };
  return {
    operationId: id,
    summary,
    ...(open ? { security: [] } : admin ? { security: [{ adminKey: [] }] } : {}),
    ...(parameters ? { parameters } : {}),
    ...(body || form ? { requestBody: { required: true, content } } : {}),
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
  const end = chunk === "ResponseEvent" ? "" : " or, where a stream fails, an Error; the last is [DONE]";
  const description = `Server-sent events. The data of each is a ${chunk}${end}.`;
  return { ...whole, content: { ...whole.content, "text/event-stream": { schema: { type: "string", description } } } };
}
