import { invariant } from "@moiety/core";
import type { Fleet, FleetWorker } from "./fleet.js";
import type { PlanShape } from "./plan-shape.js";

/** The attention worker's defaults: MOIETY_KV_PAGE_TOKENS and MOIETY_STEP_TOKENS. */
const PAGE_TOKENS = 16;
export const STEP_TOKENS = 512;

export interface MemoryRequest {
  /** Sequences of one attention worker at a time. */
  readonly sequences: number;
  /** Tokens of each. */
  readonly contextTokens: number;
  /** Workers that hold each expert. */
  readonly replicas: number;
  /** Share of a device's memory, 0 to 1, that is kept free: runtime, scratch, messages, driver. */
  readonly headroom: number;
}

/** What one worker, or the one machine of all workers, has to hold. */
export interface MemoryNeed {
  readonly worker: string;
  readonly kind: "attention" | "experts" | "machine";
  /** (layer, expert) pairs held. */
  readonly slots: number;
  readonly weightsBytes: number;
  readonly kvBytes: number;
  readonly memoryBytes: number;
  readonly headroomBytes: number;
  /** 0: it fits. */
  readonly lacksBytes: number;
}

/** What every worker needs, attention workers first. On one machine they are one line: memory is shared there, mapped files too. */
export function memoryNeeds(shape: PlanShape, fleet: Fleet, request: MemoryRequest): readonly MemoryNeed[] {
  if (fleet.oneMachine) return [oneMachine(shape, fleet, request)];
  const kvBytes = kvCacheBytes(shape, request);
  const slots = slotsOf(shape, fleet.experts.length, request.replicas);
  const attention = fleet.attention.map((worker) =>
    need(worker, request, { kind: "attention", slots: 0, weightsBytes: shape.attentionWorkerBytes, kvBytes }),
  );
  const experts = fleet.experts.map((worker, index) => {
    const held = slots[index] ?? 0;
    return need(worker, request, { kind: "experts", slots: held, weightsBytes: held * shape.expertBytes, kvBytes: 0 });
  });
  return [...attention, ...experts];
}

/** Every worker maps the same files, so that weights that several hold are in memory once. */
function oneMachine(shape: PlanShape, fleet: Fleet, request: MemoryRequest): MemoryNeed {
  const slots = shape.layers * shape.experts;
  const [worker] = fleet.attention;
  invariant(worker !== undefined, "a fleet has an attention worker");
  return need({ ...worker, name: "the machine" }, request, {
    kind: "machine",
    slots,
    weightsBytes: shape.attentionWorkerBytes + slots * shape.expertBytes,
    kvBytes: fleet.attention.length * kvCacheBytes(shape, request),
  });
}

function need(
  { name, device }: FleetWorker,
  { headroom }: MemoryRequest,
  parts: Pick<MemoryNeed, "kind" | "slots" | "weightsBytes" | "kvBytes">,
): MemoryNeed {
  const { memoryBytes } = device;
  const headroomBytes = Math.ceil(memoryBytes * headroom);
  const lacksBytes = Math.max(0, parts.weightsBytes + parts.kvBytes + headroomBytes - memoryBytes);
  return { worker: name, ...parts, memoryBytes, headroomBytes, lacksBytes };
}

/** (layer, expert) pairs of each worker: the router evens them out over all layers, so that any two differ by one at most. */
export function slotsOf(shape: Pick<PlanShape, "layers" | "experts">, workers: number, replicas: number): readonly number[] {
  const slots = shape.layers * shape.experts * Math.min(replicas, workers);
  const each = Math.floor(slots / workers);
  return Array.from({ length: workers }, (_, worker) => each + (worker < slots % workers ? 1 : 0));
}

/**
 * Both pools of an attention worker's KV cache, as its kvPools sizes them: all tokens in the full layers; in the sliding ones, per
 * sequence, two windows and three pages, and a step's rows, of which each sequence has one at least; a page more in each for the canary.
 */
export function kvCacheBytes(shape: PlanShape, { sequences, contextTokens }: MemoryRequest): number {
  const windowPages = Math.ceil(shape.slidingWindow / PAGE_TOKENS);
  const fullPages = Math.ceil((sequences * contextTokens) / PAGE_TOKENS) + 1;
  const slidingPages = sequences * (2 * windowPages + 3) + Math.ceil(Math.max(STEP_TOKENS, sequences) / PAGE_TOKENS) + 1;
  const pageBytes = PAGE_TOKENS * shape.positionBytes;
  return ((shape.layers - shape.slidingLayers) * fullPages + shape.slidingLayers * slidingPages) * pageBytes;
}
