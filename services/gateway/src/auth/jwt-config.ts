import { AppError, type Clock } from "@moiety/core";
import { env } from "@moiety/runtime";
import { z } from "zod";
import type { GatewayConfig } from "../config.js";
import { JwtVerifier } from "./jwt-verifier.js";

/** Signatures by public keys alone: a shared secret would let whoever checks a token make one. */
const ALGORITHMS: ReadonlySet<string> = new Set([
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
]);

/** What a gateway can be told about tokens. */
export const jwtConfigShape = {
  MOIETY_JWT_ISSUER: z
    .string()
    .min(1)
    .optional()
    .describe("issuer of tokens (JWT, OIDC) that open the API beside keys: what iss has to be"),
  MOIETY_JWT_JWKS_URL: z
    .url({ protocol: /^https?$/, error: "expected a URL of http or https" })
    .optional()
    .describe("where the issuer publishes its keys; default: where its OpenID configuration says"),
  MOIETY_JWT_AUDIENCE: z.string().min(1).optional().describe("what aud has to be; needed with MOIETY_JWT_ISSUER"),
  MOIETY_JWT_TENANT_CLAIM: env.text("tenant").describe("claim of a token that names its tenant"),
  MOIETY_JWT_ALGORITHMS: env
    .text("RS256,PS256,ES256,EdDSA")
    .refine((text) => text.split(",").every((name) => ALGORITHMS.has(name)), `expected some of ${[...ALGORITHMS].join(",")}`)
    .describe("signatures that are taken, separated by commas"),
};

/** Absent: no tokens are taken. @throws AppError INVALID_ARGUMENT. */
export function openJwtVerifier(config: GatewayConfig, clock: Clock): JwtVerifier | undefined {
  const { MOIETY_JWT_ISSUER: issuer, MOIETY_JWT_AUDIENCE: audience, MOIETY_JWT_JWKS_URL: jwksUrl } = config;
  if (issuer === undefined) {
    if (audience === undefined && jwksUrl === undefined) return undefined;
    throw new AppError("INVALID_ARGUMENT", "expected MOIETY_JWT_ISSUER with MOIETY_JWT_AUDIENCE and MOIETY_JWT_JWKS_URL");
  }
  if (audience === undefined) {
    throw new AppError(
      "INVALID_ARGUMENT",
      "MOIETY_JWT_AUDIENCE: expected what aud has to be, or tokens for others would open the API",
    );
  }
  if (jwksUrl === undefined && !/^https?:\/\//.test(issuer)) {
    throw new AppError("INVALID_ARGUMENT", "MOIETY_JWT_JWKS_URL: expected a URL, for the issuer is none");
  }
  const algorithms = config.MOIETY_JWT_ALGORITHMS.split(",");
  return new JwtVerifier({ issuer, audience, jwksUrl, tenantClaim: config.MOIETY_JWT_TENANT_CLAIM, algorithms, clock });
}
