import { timingSafeEqual } from "node:crypto";
import { AppError, parseTenantId, type TenantId } from "@moiety/core";
import type { ApiKeys } from "./api-keys.js";
import { digestOf } from "./issued-key.js";
import type { KeyStore } from "./key-store.js";

const EVERYONE = parseTenantId("default");

export interface Keyring {
  /** From the configuration. */
  readonly fixed: ApiKeys;
  /** Keys that can be created and revoked; absent: there are none. */
  readonly issued: KeyStore | undefined;
}

/** The tenant that an `Authorization` header stands for. @throws AppError UNAUTHENTICATED; UNAVAILABLE when the keys' store is away. */
export async function authenticate({ fixed, issued }: Keyring, authorization: string | undefined): Promise<TenantId> {
  if (!fixed.required && !issued) return EVERYONE;
  const key = bearerOf(authorization);
  if (key === undefined) {
    throw new AppError("UNAUTHENTICATED", "an API key is required: send it as Authorization: Bearer KEY");
  }
  const tenant = fixed.tenantOf(key) ?? (await issued?.tenantOf(key));
  if (tenant === undefined) throw new AppError("UNAUTHENTICATED", "the API key is not valid here");
  return tenant;
}

/** @throws AppError UNAUTHENTICATED unless the header carries the admin key. */
export function authenticateAdmin(adminDigest: Buffer, authorization: string | undefined): void {
  if (timingSafeEqual(adminDigest, digestOf(bearerOf(authorization) ?? ""))) return;
  throw new AppError("UNAUTHENTICATED", "the admin key is required: send it as Authorization: Bearer KEY");
}

function bearerOf(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
}
