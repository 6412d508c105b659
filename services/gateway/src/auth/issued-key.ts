import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { parseTenantId } from "@moiety/core";
import { z } from "zod";

const KEY_TEXT = /^moiety_([0-9a-f]{24})_[A-Za-z0-9_-]{43}$/;

/** A key as it is stored: its text is not. */
export const issuedKeySchema = z.object({
  id: z.string().regex(/^key_[0-9a-f]{24}$/),
  tenant: z.string().transform((text) => parseTenantId(text)),
  name: z.string(),
  /** SHA-256 of the text, in hex. The text has 256 random bits, so that a slow hash would add nothing. */
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  createdAtMs: z.number().int(),
  rotatedAtMs: z.number().int().optional(),
  /** From then on it opens nothing. Absent: it never expires. */
  expiresAtMs: z.number().int().optional(),
});
export type IssuedKey = z.output<typeof issuedKeySchema>;

/** SHA-256. */
export const digestOf = (key: string): Buffer => createHash("sha256").update(key).digest();

/** The id of a key that nobody has yet. */
export const newKeyId = (): string => `key_${randomBytes(12).toString("hex")}`;

/** A new text for a key: its id, and 256 random bits. */
export function newKeyText(id: string): string {
  return `moiety_${id.slice("key_".length)}_${randomBytes(32).toString("base64url")}`;
}

/** The id that a key's text names; absent: it is no text of ours. */
export function idInKeyText(text: string): string | undefined {
  const [, digits] = KEY_TEXT.exec(text) ?? [];
  return digits === undefined ? undefined : `key_${digits}`;
}

/** Takes the same time for every text. */
export function opensWith(key: Pick<IssuedKey, "digest">, text: string): boolean {
  return timingSafeEqual(Buffer.from(key.digest, "hex"), digestOf(text));
}
