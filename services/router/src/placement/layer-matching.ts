export interface LayerRequest {
  readonly experts: number;
  /** `[workers]` how many experts each takes. */
  readonly quotas: readonly number[];
  /** `[workers]` what each held before. */
  readonly held: readonly ReadonlySet<number>[];
}

/**
 * Gives the experts of one layer to workers: everybody keeps what it held as far as its quota goes, and what is missing goes to
 * workers with room, over augmenting paths where every worker with room holds that expert already. No worker gets an expert twice.
 * Returns `[workers]` sets.
 */
export function matchLayer(request: LayerRequest): ReadonlySet<number>[] {
  const copies = copiesWanted(request);
  const state = keepHeld(request, copies);
  for (let expert = 0; expert < request.experts; expert += 1) {
    while ((state.missing[expert] ?? 0) > 0 && augment(state, expert)) state.missing[expert] = (state.missing[expert] ?? 0) - 1;
  }
  return state.holds;
}

interface Matching {
  readonly quotas: readonly number[];
  readonly holds: Set<number>[];
  /** `[experts]` copies without a place. */
  readonly missing: number[];
}

/** `[experts]` copies: as even as the quotas allow; a copy more goes to those that have more today. */
function copiesWanted(request: LayerRequest): number[] {
  const total = request.quotas.reduce((sum, quota) => sum + quota, 0);
  const holders = (expert: number) => request.held.filter((set) => set.has(expert)).length;
  const order = Array.from({ length: request.experts }, (_, expert) => ({ expert, count: holders(expert) })).sort(
    (a, b) => b.count - a.count || a.expert - b.expert,
  );
  const copies = new Array<number>(request.experts).fill(Math.floor(total / request.experts));
  for (const { expert } of order.slice(0, total % request.experts)) copies[expert] = (copies[expert] ?? 0) + 1;
  return copies;
}

function keepHeld(request: LayerRequest, copies: readonly number[]): Matching {
  const missing = [...copies];
  const holds = request.quotas.map(() => new Set<number>());
  const scarcity = (expert: number) => request.held.filter((set) => set.has(expert)).length;
  request.quotas.forEach((quota, worker) => {
    const before = [...(request.held[worker] ?? [])].sort((a, b) => scarcity(a) - scarcity(b) || a - b);
    for (const expert of before) {
      if ((holds[worker]?.size ?? 0) >= quota) break;
      if ((missing[expert] ?? 0) === 0) continue;
      holds[worker]?.add(expert);
      missing[expert] = (missing[expert] ?? 0) - 1;
    }
  });
  return { quotas: request.quotas, holds, missing };
}

interface Step {
  readonly worker: number;
  readonly expert: number;
  /** The step that takes, in this worker's stead, what it gives up. */
  readonly from: Step | undefined;
}

/** Finds a place for one more copy of `wanted` by the shortest chain of hand-overs. Returns false when there is none. */
function augment(state: Matching, wanted: number): boolean {
  const visited = new Set<number>();
  const queue: Step[] = [];
  const enter = (expert: number, from: Step | undefined) => {
    const candidates = [...state.holds.keys()].filter((worker) => !visited.has(worker) && !state.holds[worker]?.has(expert));
    for (const worker of candidates.sort((a, b) => preference(state, b, expert) - preference(state, a, expert) || a - b)) {
      visited.add(worker);
      queue.push({ worker, expert, from });
    }
  };
  enter(wanted, undefined);
  for (let step = queue.shift(); step !== undefined; step = queue.shift()) {
    if (room(state, step.worker) > 0) {
      apply(state, step);
      return true;
    }
    for (const given of state.holds[step.worker] ?? []) enter(given, step);
  }
  return false;
}

function apply(state: Matching, last: Step): void {
  for (let step: Step | undefined = last; step !== undefined; step = step.from) {
    state.holds[step.worker]?.add(step.expert);
    if (step.from !== undefined) state.holds[step.from.worker]?.delete(step.expert);
  }
}

/** Neighbours lie side by side in the checkpoint: a worker whose experts are consecutive maps and reads few, long ranges. */
function preference(state: Matching, worker: number, expert: number): number {
  const free = room(state, worker);
  return free > 0 && state.holds[worker]?.has(expert - 1) ? Number.MAX_SAFE_INTEGER : free;
}

function room(state: Matching, worker: number): number {
  return (state.quotas[worker] ?? 0) - (state.holds[worker]?.size ?? 0);
}
