import { addProcessRoutes, createRegistry } from "@moiety/runtime";
import { Validator } from "@seriousme/openapi-schema-validator";
import Fastify from "fastify";
import { expect, it } from "vitest";
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
    for (const each of [method].flat()) if (each !== "HEAD") found.push(`${each} ${url.replace("models/*", "models/{model}")}`);
  });
  addProcessRoutes(app, { registry: createRegistry({ service: "gateway", instance: "test" }), readiness: async () => [] });
  await app.register(async (scope) => addOpenAiRoutes(scope, {} as GatewayContext));
  await app.ready();
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
