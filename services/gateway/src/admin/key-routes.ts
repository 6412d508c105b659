import { type Clock, parseTenantId } from "@moiety/core";
import type { Logger } from "@moiety/runtime";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { IssuedKey } from "../auth/issued-key.js";
import type { KeyStore, ShownKey } from "../auth/key-store.js";
import { checkBodyShape } from "../openai/body-limits.js";
import { invalidField } from "../openai/errors.js";
import { parseBody } from "../openai/request-fields.js";

export interface KeyRoutesOptions {
  readonly keys: KeyStore;
  readonly logger: Logger;
  readonly clock: Clock;
}

interface KeyPath {
  readonly Params: { readonly id: string };
}

const TENANT = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

/** Names a tenant. */
export const tenantName = z
  .string()
  .regex(TENANT, "expected 1 to 128 characters of A-Z a-z 0-9 . _ : - that begin with a letter or digit");

export const keyRequestSchema = z.object({
  tenant: tenantName.describe("whom the key is for: what is stored, cached and counted belongs to its tenant"),
  name: z.string().max(256).default("").describe("tells a tenant's keys apart"),
  expires_at: z
    .number()
    .int()
    .max(253_402_300_799)
    .optional()
    .describe("when the key stops to open anything, seconds since 1970; left out: never"),
});

/** `/admin/v1/keys`. */
export function addKeyRoutes(app: FastifyInstance, { keys, logger, clock }: KeyRoutesOptions): void {
  app.post("/admin/v1/keys", async (request) => {
    checkBodyShape(request.body);
    const { tenant, name, expires_at } = parseBody(keyRequestSchema, request.body);
    const expiresAtMs = expires_at === undefined ? undefined : expires_at * 1_000;
    if (expiresAtMs !== undefined && expiresAtMs <= clock.nowMs()) throw invalidField("expires_at", "expected a time to come");
    const shown = await keys.create({
      tenant: parseTenantId(tenant),
      name,
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    });
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

const seconds = (ms: number | undefined) => (ms === undefined ? null : Math.floor(ms / 1_000));

function describeKey({ id, tenant, name, createdAtMs, rotatedAtMs, expiresAtMs }: IssuedKey) {
  return {
    id,
    object: "api_key",
    tenant,
    name,
    created_at: seconds(createdAtMs),
    rotated_at: seconds(rotatedAtMs),
    expires_at: seconds(expiresAtMs),
  };
}

const describeShown = ({ key, text }: ShownKey) => ({ ...describeKey(key), key: text });
