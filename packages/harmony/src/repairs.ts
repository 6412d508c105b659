/** What the parser put right, or could not and delivered as content. */
export const REPAIR_KINDS = [
  "missing-start",
  "missing-role",
  "missing-channel",
  "missing-message",
  "missing-end",
  "doubled-part",
  "bare-header-part",
  "misspelt-role",
  "misspelt-channel",
  "unknown-role",
  "unknown-channel",
  "stray-text",
  "stray-token",
  "after-stop",
] as const;

export type RepairKind = (typeof REPAIR_KINDS)[number];

/** How often each repair was made; kinds that never were are absent. */
export type RepairCounts = Readonly<Partial<Record<RepairKind, number>>>;
