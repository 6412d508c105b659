import { parseTenantId } from "@moiety/core";
import type { Logger } from "@moiety/runtime";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { authenticateAdmin } from "../auth/authenticate.js";
import type { IssuedKey } from "../auth/issued-key.js";
import type { KeyStore, ShownKey } from "../auth/key-store.js";
import { checkBodyShape } from "../openai/body-limits.js";
import { parseBody } from "../openai/request-fields.js";

export interface KeyRoutesOptions {
  readonly keys: KeyStore;
  readonly adminDigest: Buffer;
  readonly logger: Logger;
}

interface KeyPath {
  readonly Params: { readonly id: string };
}

const TENANT = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

export const keyRequestSchema = z.object({
  tenant: z
    .string()
    .regex(TENANT, "expected 1 to 128 characters of A-Z a-z 0-9 . _ : - that begin with a letter or digit")
    .describe("whom the key is for: what is stored, cached and counted belongs to its tenant"),
  name: z.string().max(256).default("").describe("tells a tenant's keys apart"),
});

/** `/admin/v1/keys`, for whoever has the admin key. */
export function addKeyRoutes(app: FastifyInstance, { keys, adminDigest, logger }: KeyRoutesOptions): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id).header("cache-control", "no-store");
    authenticateAdmin(adminDigest, request.headers.authorization);
  });
  app.post("/admin/v1/keys", async (request) => {
    checkBodyShape(request.body);
    const { tenant, name } = parseBody(keyRequestSchema, request.body);
    const shown = await keys.create(parseTenantId(tenant), name);
    logger.info({ requestId: request.id, keyId: shown.key.id, tenant }, "API key created");
    return describeShown(shown);
  });
  app.get("/admin/v1/keys", async () => ({ object: "list", data: (await keys.list()).map(describeKey) }));
  app.post<KeyPath>("/admin/v1/keys/:id/rotate", async (request) => {
    const shown = await keys.rotate(request.params.id);
    logger.info({ requestId: request.id, keyId: shown.key.id, tenant: shown.key.tenant }, "API key rotated");
    return describeShown(shown);
  });
  app.delete<KeyPath>("/admin/v1/keys/:id", async (request) => {
    const { id } = request.params;
    await keys.revoke(id);
    logger.info({ requestId: request.id, keyId: id }, "API key revoked");
    return { id, object: "api_key", deleted: true };
  });
}

function describeKey({ id, tenant, name, createdAtMs, rotatedAtMs }: IssuedKey) {
  return {
    id,
    object: "api_key",
    tenant,
    name,
    created_at: Math.floor(createdAtMs / 1_000),
    rotated_at: rotatedAtMs === undefined ? null : Math.floor(rotatedAtMs / 1_000),
  };
}

const describeShown = ({ key, text }: ShownKey) => ({ ...describeKey(key), key: text });
