import { AppError, parseTenantId, type TenantId } from "@moiety/core";
import type { ApiKeys } from "./api-keys.js";

const EVERYONE = parseTenantId("default");

/** The tenant that an `Authorization` header stands for. @throws AppError UNAUTHENTICATED. */
export function authenticate(keys: ApiKeys, authorization: string | undefined): TenantId {
  if (!keys.required) return EVERYONE;
  const [, key] = /^Bearer +(\S+) *$/i.exec(authorization ?? "") ?? [];
  if (key === undefined) {
    throw new AppError("UNAUTHENTICATED", "an API key is required: send it as Authorization: Bearer KEY");
  }
  const tenant = keys.tenantOf(key);
  if (tenant === undefined) throw new AppError("UNAUTHENTICATED", "the API key is not valid here");
  return tenant;
}
