import { timingSafeEqual } from "node:crypto";
import { AppError, parseTenantId, type TenantId } from "@moiety/core";
import type { ApiKeys } from "./api-keys.js";
import { digestOf } from "./issued-key.js";
import type { JwtVerifier } from "./jwt-verifier.js";
import type { KeyStore } from "./key-store.js";

const EVERYONE = parseTenantId("default");

export interface Keyring {
  /** From the configuration. */
  readonly fixed: ApiKeys;
  /** Keys that can be created and revoked; absent: there are none. */
  readonly issued: KeyStore | undefined;
  /** Tokens of an issuer; absent: none are taken. */
  readonly tokens: Pick<JwtVerifier, "callerOf"> | undefined;
}

/** Who asks. */
export interface Caller {
  readonly tenant: TenantId;
  /** Of the key: its id, or how it came to the gateway. Never its text. */
  readonly keyId: string;
  /** Of a token: whom its issuer gave it to. */
  readonly subject?: string;
}

/** Whether a key is asked for at all. */
export const asksForKeys = ({ fixed, issued, tokens }: Keyring): boolean =>
  fixed.required || issued !== undefined || tokens !== undefined;

/** Whom an `Authorization` header stands for. @throws AppError UNAUTHENTICATED; UNAVAILABLE when the keys' store is away. */
export async function authenticate(keyring: Keyring, authorization: string | undefined): Promise<Caller> {
  if (!asksForKeys(keyring)) return { tenant: EVERYONE, keyId: "none" };
  const { fixed, issued, tokens } = keyring;
  const key = bearerOf(authorization);
  if (key === undefined) {
    throw new AppError("UNAUTHENTICATED", "an API key is required: send it as Authorization: Bearer KEY");
  }
  const owner = fixed.ownerOf(key);
  if (owner) return { tenant: owner.tenant, keyId: owner.id };
  const found = await issued?.keyOf(key);
  if (found) return { tenant: found.tenant, keyId: found.id };
  const caller = await tokens?.callerOf(key);
  if (caller) return caller;
  throw new AppError("UNAUTHENTICATED", "the API key is not valid here");
}

/** @throws AppError UNAUTHENTICATED unless the header carries the admin key. */
export function authenticateAdmin(adminDigest: Buffer, authorization: string | undefined): void {
  if (timingSafeEqual(adminDigest, digestOf(bearerOf(authorization) ?? ""))) return;
  throw new AppError("UNAUTHENTICATED", "the admin key is required: send it as Authorization: Bearer KEY");
}

function bearerOf(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
}
