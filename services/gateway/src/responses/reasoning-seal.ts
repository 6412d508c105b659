/**
 * `encrypted_content` of reasoning items: clients that keep no thoughts pass it back unread. Thoughts are no secret here, as they stand
 * in the item's `content` too, so that it is only encoded.
 */
const MARK = "moiety1.";
const ENCODED = /^[A-Za-z0-9_-]*$/;

export const seal = (thoughts: string): string => MARK + Buffer.from(thoughts, "utf8").toString("base64url");

/** The thoughts; undefined for what another server made. */
export function unseal(sealed: string): string | undefined {
  if (!sealed.startsWith(MARK)) return undefined;
  const encoded = sealed.slice(MARK.length);
  return ENCODED.test(encoded) ? Buffer.from(encoded, "base64url").toString("utf8") : undefined;
}
