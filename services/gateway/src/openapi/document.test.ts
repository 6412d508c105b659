import { systemClock } from "@moiety/core";
import { addProcessRoutes, createRegistry, type Logger, parseConfig } from "@moiety/runtime";
import { Validator } from "@seriousme/openapi-schema-validator";
import Fastify from "fastify";
import { expect, it } from "vitest";
import { type AdminRoutesOptions, addAdminRoutes } from "../admin/admin-routes.js";
import type { BatchService } from "../batches/batch-service.js";
import { addFileAndBatchRoutes } from "../batches/routes.js";
import { gatewayConfigSchema } from "../config.js";
import type { GatewayContext } from "../gateway-context.js";
import { addOpenAiRoutes } from "../openai/endpoints.js";
import { openApiDocument } from "./document.js";

const document = openApiDocument() as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, { readonly properties: object; readonly additionalProperties?: boolean }>>;
  };
};

/** Method and path of everything that the gateway routes, wildcards as they are documented. */
async function routes(): Promise<string[]> {
  const found: string[] = [];
  const app = Fastify();
  app.addHook("onRoute", ({ method, url }) => {
    // A route of several methods says of them that they are not allowed.
    if (Array.isArray(method) || method === "HEAD") return;
    found.push(`${method} ${url.replace("models/*", "models/{model}").replace(/:(\w+)/, "{$1}")}`);
  });
  addProcessRoutes(app, { registry: createRegistry({ service: "gateway", instance: "test" }), readiness: async () => [] });
  const logger = { warn: () => undefined } as unknown as Logger;
  const config = parseConfig(gatewayConfigSchema, { MOIETY_REDIS_URL: "redis://127.0.0.1:1", MOIETY_MODEL: "none" });
  const context = { config, logger, clock: systemClock } as GatewayContext;
  await app.register(async (scope) => addOpenAiRoutes(scope, context));
  await app.register(async (scope) => addFileAndBatchRoutes(scope, context, {} as BatchService));
  await app.register(async (scope) => addAdminRoutes(scope, {} as AdminRoutesOptions));
  await app.ready();
  await app.close();
  return found;
}

it("is valid OpenAPI 3.1", async () => {
  const validator = new Validator();
  expect(await validator.validate(structuredClone(document))).toEqual({ valid: true });
  expect(validator.version).toBe("3.1");
});

it("has every route and no other", async () => {
  const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect([...documented, "GET /openapi.json"].sort()).toEqual((await routes()).sort());
});

it("names every field that is read, and none that is always refused", () => {
  const fields = Object.keys(document.components.schemas["ChatRequest"]?.properties ?? {});
  expect(fields).toEqual(
    expect.arrayContaining(["messages", "tools", "temperature", "stream_options", "response_format", "structured_outputs"]),
  );
  expect(fields).not.toContain("functions");
  expect(fields).not.toContain("structural_tag");
});

it("lets clients add fields to requests, and shows all fields of answers", () => {
  const { ChatRequest, ChatCompletion } = document.components.schemas;
  expect(ChatRequest?.additionalProperties).toBeUndefined();
  expect(ChatCompletion?.additionalProperties).toBe(false);
});
