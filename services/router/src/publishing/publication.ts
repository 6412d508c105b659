import { type PlacementTable, unreachable } from "@moiety/core";

/**
 * | phase     | meaning                                                     | leaves when                                                    |
 * |-----------|-------------------------------------------------------------|----------------------------------------------------------------|
 * | settling  | the router is young: members return and say what they hold   | all of the held table are back, or the settle period is over    |
 * | empty     | there is no table                                           | enough expert workers: preparing                                |
 * | preparing | `next` is being loaded; calls go by `active`, if there is one | all of `next` are ready: active; it cannot be: another `next`   |
 * | active    | calls go by `active`                                        | membership demands another table: preparing                     |
 */
export type Publication =
  | { readonly kind: "settling"; readonly sinceMs: number; readonly held: PlacementTable | undefined }
  | { readonly kind: "empty" }
  | { readonly kind: "preparing"; readonly active: PlacementTable | undefined; readonly next: PlacementTable }
  | { readonly kind: "active"; readonly active: PlacementTable };

/** The table that the cluster moves towards, or has. */
export function targetOf(publication: Publication): PlacementTable | undefined {
  switch (publication.kind) {
    case "settling":
      return publication.held;
    case "empty":
      return undefined;
    case "preparing":
      return publication.next;
    case "active":
      return publication.active;
    default:
      return unreachable(publication);
  }
}

/** The table by which calls are sent now. */
export function activeOf(publication: Publication): PlacementTable | undefined {
  return publication.kind === "active" || publication.kind === "preparing" ? publication.active : undefined;
}

/** What a worker must be told, oldest first. */
export function tablesOf(publication: Publication): readonly PlacementTable[] {
  const next = publication.kind === "preparing" ? publication.next : undefined;
  return [activeOf(publication), next].filter((table) => table !== undefined);
}

/** Goes on from a table that somebody holds. */
export function takeOver(table: PlacementTable | undefined): Publication {
  if (table === undefined) return { kind: "empty" };
  return table.phase === "active" ? { kind: "active", active: table } : { kind: "preparing", active: undefined, next: table };
}
