import type { FastifyInstance } from "fastify";
import { authenticateAdmin } from "../auth/authenticate.js";
import { type AccountRoutesOptions, addAccountRoutes } from "./account-routes.js";
import { addKeyRoutes, type KeyRoutesOptions } from "./key-routes.js";
import { addTenantRoutes, type TenantRoutesOptions } from "./tenant-routes.js";

export interface AdminRoutesOptions extends KeyRoutesOptions, TenantRoutesOptions, AccountRoutesOptions {
  readonly adminDigest: Buffer;
}

/** `/admin/v1`, for whoever has the admin key. */
export function addAdminRoutes(app: FastifyInstance, options: AdminRoutesOptions): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id).header("cache-control", "no-store");
    authenticateAdmin(options.adminDigest, request.headers.authorization);
  });
  app.addHook("onResponse", async (request, reply) => {
    const { id, tenant } = (request.params ?? {}) as { readonly id?: string; readonly tenant?: string };
    const subject = id ?? tenant;
    const kind = `${request.method} ${request.routeOptions.url ?? "none"}`;
    const about = { kind, requestId: request.id, status: reply.statusCode };
    options.audit.note({ tenant: "-", keyId: "admin", ...about, ...(subject === undefined ? {} : { subject }) });
  });
  addKeyRoutes(app, options);
  addTenantRoutes(app, options);
  addAccountRoutes(app, options);
}
