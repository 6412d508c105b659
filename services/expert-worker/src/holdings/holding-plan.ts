import type { PlacementTable, WorkerId } from "@moiety/core";

/** One expert of one layer as one number. */
export type ExpertKey = number;

export interface Placements {
  /** By which calls come now. */
  readonly active: PlacementTable | undefined;
  /** The newest, active or preparing. */
  readonly newest: PlacementTable | undefined;
}

/** What a table gives to a worker; nothing when it does not name it. */
export function assignedKeys(table: PlacementTable | undefined, self: WorkerId): Set<ExpertKey> {
  const keys = new Set<ExpertKey>();
  if (table === undefined) return keys;
  table.expertsOf(self)?.forEach((experts, layer) => {
    for (const expert of experts) keys.add(layer * table.experts + expert);
  });
  return keys;
}

/** What a worker should hold: what the active placement gives it, and what the newest will. */
export function wantedKeys(placements: Placements, self: WorkerId): Set<ExpertKey> {
  return new Set([...assignedKeys(placements.active, self), ...assignedKeys(placements.newest, self)]);
}
