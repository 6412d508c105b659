const MAX_UNSIGNED = 2n ** 64n - 1n;
const MIN_SIGNED = -(2n ** 63n);

/**
 * A value as JSON in the spelling of openai-harmony, which differs from that of `JSON.stringify` in numbers only: integers beyond
 * 64 bits, and fractions below 1e-5, stand as `1.2e-6`.
 * Source: serde_json 1.0 and Ryu's pretty format.
 */
export function jsonText(value: unknown): string {
  if (typeof value === "number") return numberText(value);
  if (Array.isArray(value)) return `[${value.map(jsonText).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${jsonText(member)}`).join(",")}}`;
}

function numberText(value: number): string {
  if (!Number.isFinite(value)) return "null";
  const written = String(value);
  if (/^-?\d+$/.test(written)) {
    const integer = BigInt(written);
    if (integer >= MIN_SIGNED && integer <= MAX_UNSIGNED) return written;
  }
  const [mantissa = "", exponent = ""] = value.toExponential().split("e");
  const power = Number(exponent);
  return power >= -5 && power < 16 ? written : `${mantissa}e${power}`;
}
