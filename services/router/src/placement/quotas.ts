export interface QuotaRequest {
  readonly layers: number;
  /** Most copies one worker can hold of one layer: the number of experts. */
  readonly experts: number;
  /** Copies wanted per layer: experts times replicas. */
  readonly copiesPerLayer: number;
  /** `[workers]` slots. */
  readonly capacities: readonly number[];
  /** `[workers][layers]` copies held before; absent workers held none. */
  readonly held: readonly (readonly number[])[];
}

/**
 * How many experts of each layer every worker takes: `[layers][workers]`. Within a layer any two workers differ by one at most, unless
 * one is full. Where one more or less is free to choose, those who already hold more keep more.
 */
export function quotas(request: QuotaRequest): number[][] {
  const { layers, experts, held } = request;
  const capacities = request.capacities.map((slots) => Math.min(slots, layers * experts));
  const copies = Math.min(layers * request.copiesPerLayer, sum(capacities));
  const level = Math.floor(waterLevel(capacities, copies) / layers);
  const bases = capacities.map((slots) => Math.min(level, Math.floor(slots / layers)));
  const allowances = capacities.map((slots, worker) => Math.min(layers, slots - layers * (bases[worker] ?? 0)));
  const needs = Array.from({ length: layers }, (_, layer) => share(copies, layers, layer) - sum(bases));
  return needs.map((need, layer) => {
    const extra = pickExtra({ need, layer, allowances, laterNeeds: needs.slice(layer + 1), bases, held });
    for (const worker of extra) allowances[worker] = (allowances[worker] ?? 0) - 1;
    return bases.map((base, worker) => base + (extra.has(worker) ? 1 : 0));
  });
}

/** The even part that bucket `index` of `buckets` gets of `total`. */
function share(total: number, buckets: number, index: number): number {
  return Math.floor(total / buckets) + (index < total % buckets ? 1 : 0);
}

/** The level at which vessels of these capacities together hold `total`. */
function waterLevel(capacities: readonly number[], total: number): number {
  let left = total;
  const ascending = [...capacities].sort((a, b) => a - b);
  for (const [index, capacity] of ascending.entries()) {
    const even = left / (ascending.length - index);
    if (capacity >= even) return even;
    left -= capacity;
  }
  return ascending.at(-1) ?? 0;
}

interface ExtraRequest {
  readonly need: number;
  readonly layer: number;
  readonly allowances: readonly number[];
  readonly laterNeeds: readonly number[];
  readonly bases: readonly number[];
  readonly held: readonly (readonly number[])[];
}

/** Which workers take one more of this layer: those who hold it already if later layers stay possible, else those with most room. */
function pickExtra(request: ExtraRequest): ReadonlySet<number> {
  const { allowances, bases, held, layer, need } = request;
  const allowed = [...allowances.keys()].filter((worker) => (allowances[worker] ?? 0) > 0);
  const holdsMore = (worker: number) => Number((held[worker]?.[layer] ?? 0) > (bases[worker] ?? 0));
  const room = (worker: number) => allowances[worker] ?? 0;
  const byRoom = [...allowed].sort((a, b) => room(b) - room(a) || holdsMore(b) - holdsMore(a) || a - b);
  const sticky = [...byRoom].sort((a, b) => holdsMore(b) - holdsMore(a)).slice(0, need);
  return new Set(leavesEnough(request, sticky) ? sticky : byRoom.slice(0, need));
}

function leavesEnough(request: ExtraRequest, taken: readonly number[]): boolean {
  const layersLeft = request.laterNeeds.length;
  const left = request.allowances.map((allowance, worker) => allowance - (taken.includes(worker) ? 1 : 0));
  return sum(left.map((allowance) => Math.min(allowance, layersLeft))) >= sum(request.laterNeeds);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
