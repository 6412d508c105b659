const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const LONGEST_MS = 7 * UNIT_MS.d;

export const WINDOW_EXPECTED = 'expected a time such as "24h", "30m" or "3d", of 7 days at most';

/** How long a batch may take, in milliseconds; undefined for what is no such time. OpenAI's API knows `24h` alone. */
export function parseWindow(text: string): number | undefined {
  const [, digits, unit] = /^([1-9]\d{0,5})([smhd])$/.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const windowMs = Number(digits) * UNIT_MS[unit as keyof typeof UNIT_MS];
  return windowMs <= LONGEST_MS ? windowMs : undefined;
}
