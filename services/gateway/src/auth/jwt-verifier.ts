import { AppError, type Clock, parseTenantId } from "@moiety/core";
import { createRemoteJWKSet, customFetch, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import { z } from "zod";
import type { Caller } from "./authenticate.js";
import { boundedFetch } from "./bounded-fetch.js";

export interface JwtVerifierOptions {
  /** What `iss` has to be. */
  readonly issuer: string;
  /** Absent: where the issuer's OpenID configuration says. */
  readonly jwksUrl: string | undefined;
  /** What `aud` has to be, or hold. */
  readonly audience: string;
  /** Claim that names the tenant. */
  readonly tenantClaim: string;
  readonly algorithms: readonly string[];
  readonly clock: Clock;
}

const CLOCK_TOLERANCE_S = 30;
const TIMEOUT_MS = 5_000;
/** An unknown key has the issuer asked again, but not more often. */
const COOLDOWN_MS = 30_000;
const KEYS_LIFE_MS = 600_000;
/** After the issuer could not be asked where its keys are. */
const RETRY_MS = 5_000;
const MAX_SUBJECT = 128;
/** Of the ids of what may be very many: a tenant's subjects. */
export const SUBJECT_PREFIX = "jwt:";

const configurationSchema = z.object({ issuer: z.string(), jwks_uri: z.url({ protocol: /^https?$/ }) });
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Tokens of an OpenID provider, or of whoever else publishes the keys that it signs with. */
export class JwtVerifier {
  readonly #options: JwtVerifierOptions;
  #keys: Promise<JWTVerifyGetKey> | undefined;
  #failedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: JwtVerifierOptions) {
    this.#options = options;
  }

  /** Whom a token stands for; absent: it is no token. @throws AppError UNAUTHENTICATED; UNAVAILABLE when the keys cannot be read. */
  async callerOf(text: string): Promise<Caller | undefined> {
    if (!TOKEN.test(text)) return undefined;
    const keys = await this.#issuersKeys();
    const { issuer, audience, algorithms, tenantClaim, clock } = this.#options;
    const payload = await jwtVerify(text, keys, {
      issuer,
      audience,
      algorithms: [...algorithms],
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(clock.nowMs()),
      requiredClaims: ["exp", tenantClaim],
    }).then(
      (verified) => verified.payload,
      (error: unknown) => {
        throw asRefusal(error);
      },
    );
    return callerIn(payload, tenantClaim);
  }

  #issuersKeys(): Promise<JWTVerifyGetKey> {
    const { clock } = this.#options;
    if (!this.#keys) {
      if (clock.monotonicMs() - this.#failedAtMs < RETRY_MS) throw keysAway();
      this.#keys = this.#findKeys();
      this.#keys.catch(() => {
        this.#keys = undefined;
        this.#failedAtMs = clock.monotonicMs();
      });
    }
    return this.#keys;
  }

  async #findKeys(): Promise<JWTVerifyGetKey> {
    const { jwksUrl } = this.#options;
    return createRemoteJWKSet(new URL(jwksUrl ?? (await this.#discover())), {
      timeoutDuration: TIMEOUT_MS,
      cooldownDuration: COOLDOWN_MS,
      cacheMaxAge: KEYS_LIFE_MS,
      [customFetch]: boundedFetch,
    });
  }

  async #discover(): Promise<string> {
    const { issuer } = this.#options;
    try {
      const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
      const response = await boundedFetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
      const found = configurationSchema.parse(await response.json());
      if (found.issuer !== issuer) throw new Error("the configuration is another issuer's");
      return found.jwks_uri;
    } catch (error) {
      throw keysAway(error);
    }
  }
}

const keysAway = (cause?: unknown) =>
  new AppError("UNAVAILABLE", "the keys of the tokens' issuer cannot be read now", cause === undefined ? {} : { cause });

/** Says what a client can do about it, and nothing of the token. */
function asRefusal(error: unknown): AppError {
  const refused = (message: string) => new AppError("UNAUTHENTICATED", message);
  if (error instanceof errors.JWTExpired) return refused("the token has expired");
  if (error instanceof errors.JWTClaimValidationFailed) return refused(`the token's claim ${error.claim} is not as it has to be`);
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return keysAway(error);
  // What fetch itself throws, and an answer that is not 200, which jose has no class of its own for.
  if (!(error instanceof errors.JOSEError) || error.code === "ERR_JOSE_GENERIC") return keysAway(error);
  return refused("the token is not valid here");
}

function callerIn(payload: JWTPayload, claim: string): Caller {
  const tenant = payload[claim];
  const subject = payload.sub?.slice(0, MAX_SUBJECT);
  try {
    const about = subject === undefined ? {} : { subject };
    return { tenant: parseTenantId(String(tenant)), keyId: keyIdOf(subject), ...about };
  } catch {
    throw new AppError("UNAUTHENTICATED", `the token's claim ${claim} names no tenant`);
  }
}

/** What usage calls the tokens of a subject. Whatever would break a line of a table is spelt as the number of its character. */
function keyIdOf(subject: string | undefined): string {
  if (subject === undefined) return "jwt";
  return `${SUBJECT_PREFIX}${subject.replace(/[\p{C}\p{Z}%]/gu, (found) => `%${found.codePointAt(0)?.toString(16)}`)}`;
}
