import { auditQuerySchema, usageQuerySchema } from "../admin/account-routes.js";
import { type Operation, pathParameter, queryParameters } from "./operation.js";

const KEYS: readonly Operation[] = [
  {
    method: "post",
    path: "/admin/v1/keys",
    id: "createKey",
    summary: "Create an API key",
    body: ["KeyRequest"],
    answer: "ShownKey",
  },
  { method: "get", path: "/admin/v1/keys", id: "listKeys", summary: "The API keys, without their texts", answer: "Keys" },
  {
    method: "post",
    path: "/admin/v1/keys/{id}/rotate",
    id: "rotateKey",
    summary: "Give an API key another text; the one that it had opens nothing from then on",
    answer: "ShownKey",
    parameters: [pathParameter("id")],
  },
  {
    method: "delete",
    path: "/admin/v1/keys/{id}",
    id: "revokeKey",
    summary: "Forget an API key; it opens nothing from then on",
    answer: "KeyDeleted",
    parameters: [pathParameter("id")],
  },
];

const TENANT = [pathParameter("tenant")];
const TENANTS: readonly Operation[] = [
  { method: "get", path: "/admin/v1/tenants", id: "listTenants", summary: "The tenants that have a record", answer: "Tenants" },
  {
    method: "get",
    path: "/admin/v1/tenants/{tenant}",
    id: "retrieveTenant",
    summary: "A tenant's limits, and what it has in hand and has spent",
    answer: "Tenant",
    parameters: TENANT,
  },
  {
    method: "post",
    path: "/admin/v1/tenants/{tenant}",
    id: "changeTenant",
    summary: "Give a tenant limits of its own, or change them",
    body: ["TenantRequest"],
    answer: "Tenant",
    parameters: TENANT,
  },
  {
    method: "delete",
    path: "/admin/v1/tenants/{tenant}",
    id: "removeTenant",
    summary: "Forget a tenant's own limits",
    answer: "TenantDeleted",
    parameters: TENANT,
  },
  {
    method: "get",
    path: "/admin/v1/usage",
    id: "usage",
    summary: "What each key took, day by day",
    answer: "Usage",
    parameters: queryParameters(usageQuerySchema),
  },
  {
    method: "get",
    path: "/admin/v1/audit",
    id: "audit",
    summary:
      "The audit log; x-next-after says where the next page begins, x-last-id where to ask later for more, x-entries-cut that some were cut off before",
    parameters: queryParameters(auditQuerySchema),
    also: { "200": { description: "An entry a line", content: { "application/x-ndjson": { schema: { type: "string" } } } } },
  },
];

/** What whoever has the admin key may do. */
export const ADMIN_OPERATIONS: readonly Operation[] = [...KEYS, ...TENANTS].map((operation) => ({ ...operation, admin: true }));
