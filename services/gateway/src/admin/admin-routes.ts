import type { FastifyInstance } from "fastify";
import { authenticateAdmin } from "../auth/authenticate.js";
import { addKeyRoutes, type KeyRoutesOptions } from "./key-routes.js";

export interface AdminRoutesOptions extends KeyRoutesOptions {
  readonly adminDigest: Buffer;
}

/** `/admin/v1`, for whoever has the admin key. */
export function addAdminRoutes(app: FastifyInstance, options: AdminRoutesOptions): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id).header("cache-control", "no-store");
    authenticateAdmin(options.adminDigest, request.headers.authorization);
  });
  addKeyRoutes(app, options);
}
