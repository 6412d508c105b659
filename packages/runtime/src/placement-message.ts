import { AppError, type PlacedExperts, PlacementTable, parseWorkerId } from "@moiety/core";
import { type Assignment, type ModelIdentity, type Placement, PlacementState } from "@moiety/proto";

/** Most workers that one placement may name. */
export const MAX_PLACED_WORKERS = 1_024;
/** Bounds of a model that the control plane accepts. */
export const MAX_LAYERS = 256;
export const MAX_EXPERTS = 1_024;
export const MAX_ADDRESS_LENGTH = 256;

export type PlacementShape = Pick<ModelIdentity, "layers" | "experts">;

/**
 * Turns a message into a table.
 * @throws AppError INVALID_ARGUMENT that names what is wrong with it.
 */
export function parsePlacement(message: Placement, shape: PlacementShape): PlacementTable {
  if (message.assignments.length > MAX_PLACED_WORKERS) {
    throw new AppError("INVALID_ARGUMENT", `placement: more than ${MAX_PLACED_WORKERS} workers`);
  }
  return new PlacementTable({
    epoch: message.epoch,
    phase: parsePhase(message.state),
    layers: shape.layers,
    experts: shape.experts,
    workers: message.assignments.map((assignment) => parseAssignment(assignment, shape)),
  });
}

function parsePhase(state: PlacementState) {
  if (state === PlacementState.PLACEMENT_STATE_ACTIVE) return "active";
  if (state === PlacementState.PLACEMENT_STATE_PREPARING) return "preparing";
  throw new AppError("INVALID_ARGUMENT", "placement: state must be PREPARING or ACTIVE");
}

function parseAssignment(assignment: Assignment, shape: PlacementShape): PlacedExperts {
  const experts: (readonly number[])[] = Array.from({ length: shape.layers }, () => []);
  const seen = new Set<number>();
  for (const { layer, experts: list } of assignment.layers) {
    if (layer >= shape.layers || seen.has(layer)) {
      throw new AppError("INVALID_ARGUMENT", `placement: layers must be distinct and below ${shape.layers}`);
    }
    seen.add(layer);
    experts[layer] = list;
  }
  return { id: parseWorkerId(assignment.workerId), address: parseAddress(assignment.address), experts };
}

/** @throws AppError INVALID_ARGUMENT unless the text is host:port or unix:path. */
export function parseAddress(text: string): string {
  if (text.length <= MAX_ADDRESS_LENGTH && /^(unix:.+|\S+:\d{1,5})$/.test(text)) return text;
  throw new AppError("INVALID_ARGUMENT", `address must be host:port or unix:path of at most ${MAX_ADDRESS_LENGTH} characters`);
}

/** The table as it travels. */
export function placementMessage(table: PlacementTable): Placement {
  return {
    epoch: table.epoch,
    state: table.phase === "active" ? PlacementState.PLACEMENT_STATE_ACTIVE : PlacementState.PLACEMENT_STATE_PREPARING,
    assignments: table.workers.map((worker) => ({
      workerId: worker.id,
      address: worker.address,
      layers: worker.experts.flatMap((experts, layer) => (experts.length === 0 ? [] : [{ layer, experts: [...experts] }])),
    })),
  };
}
