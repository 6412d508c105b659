import type { Clock } from "@moiety/core";
import type { FastifyInstance } from "fastify";
import { authenticateAdmin } from "../auth/authenticate.js";
import { type AccountRoutesOptions, addAccountRoutes } from "./account-routes.js";
import { addKeyRoutes, type KeyRoutesOptions } from "./key-routes.js";
import { addTenantRoutes, type TenantRoutesOptions } from "./tenant-routes.js";

export interface AdminRoutesOptions extends KeyRoutesOptions, TenantRoutesOptions, AccountRoutesOptions {
  readonly adminDigest: Buffer;
}

const AUDIT_KIND = "GET /admin/v1/audit";
const FOLLOWED_EVERY_MS = 3_600_000;

/** `/admin/v1`, for whoever has the admin key. */
export function addAdminRoutes(app: FastifyInstance, options: AdminRoutesOptions): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id).header("cache-control", "no-store");
    authenticateAdmin(options.adminDigest, request.headers.authorization);
  });
  const looks = followersLooks(options.clock);
  app.addHook("onResponse", async (request, reply) => {
    const { id, tenant } = (request.params ?? {}) as { readonly id?: string; readonly tenant?: string };
    const subject = id ?? tenant;
    const kind = `${request.method} ${request.routeOptions.url ?? "none"}`;
    const about = { kind, requestId: request.id, status: reply.statusCode };
    const isLook = kind === AUDIT_KIND && reply.statusCode === 200 && new URLSearchParams(request.url.split("?")[1]).has("after");
    const times = isLook ? looks() : 1;
    if (times === 0) return;
    options.audit.note({ tenant: "-", keyId: "admin", ...about, ...(subject === undefined ? {} : { subject }) }, times);
  });
  addKeyRoutes(app, options);
  addTenantRoutes(app, options);
  addAccountRoutes(app, options);
}

/** Whoever follows the audit log looks every second, which would fill it: that is noted once an hour, with how often it was. */
function followersLooks(clock: Clock): () => number {
  let notedMs = Number.NEGATIVE_INFINITY;
  let count = 0;
  return () => {
    count += 1;
    const nowMs = clock.monotonicMs();
    if (nowMs - notedMs < FOLLOWED_EVERY_MS) return 0;
    notedMs = nowMs;
    const times = count;
    count = 0;
    return times;
  };
}
