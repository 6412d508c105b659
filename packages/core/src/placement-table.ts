import { AppError } from "./app-error.js";
import type { WorkerId } from "./ids.js";

/** `preparing`: workers load what they lack, nobody sends calls by it. `active`: every expert has a worker that has loaded it. */
export type PlacementPhase = "preparing" | "active";

export interface PlacedWorker {
  readonly id: WorkerId;
  /** host:port or unix:path of its data-plane server. */
  readonly address: string;
}

export interface PlacedExperts extends PlacedWorker {
  /** `[layers]` of expert numbers, ascending. */
  readonly experts: readonly (readonly number[])[];
}

export interface PlacementTableSpec {
  /** At least 1; a table with a greater epoch replaces one with a smaller. */
  readonly epoch: number;
  readonly phase: PlacementPhase;
  readonly layers: number;
  /** Experts per layer. */
  readonly experts: number;
  readonly workers: readonly PlacedExperts[];
}

/** Largest epoch: a uint32 on the wire. */
export const MAX_EPOCH = 0xffff_ffff;

/** An immutable, numbered table of which worker holds which experts. */
export class PlacementTable {
  readonly epoch: number;
  readonly phase: PlacementPhase;
  readonly layers: number;
  readonly experts: number;
  readonly workers: readonly PlacedExperts[];
  readonly #holders: readonly (readonly number[])[];

  /** @throws AppError INVALID_ARGUMENT when a number is out of range, an order wrong, or a worker named twice. */
  constructor(spec: PlacementTableSpec) {
    check(spec);
    this.epoch = spec.epoch;
    this.phase = spec.phase;
    this.layers = spec.layers;
    this.experts = spec.experts;
    this.workers = spec.workers;
    this.#holders = invert(spec);
  }

  /** Indices into {@link workers} of those that hold an expert, ascending; empty when nobody does. */
  holders(layer: number, expert: number): readonly number[] {
    return this.#holders[layer * this.experts + expert] ?? [];
  }

  /** What one worker holds, `[layers]` of ascending expert numbers; absent when the table does not name it. */
  expertsOf(id: WorkerId): readonly (readonly number[])[] | undefined {
    return this.workers.find((worker) => worker.id === id)?.experts;
  }

  /** How many (layer, expert) pairs have no holder that `lives` accepts; without it, no holder at all. */
  countWithoutHolder(lives: (worker: PlacedWorker) => boolean = () => true): number {
    const alive = this.workers.map(lives);
    return this.#holders.filter((indices) => !indices.some((index) => alive[index])).length;
  }

  /** Whether this one replaces `other`: a greater epoch, or the same one gone from preparing to active. */
  isNewerThan(other: PlacementTable | undefined): boolean {
    if (other === undefined || this.epoch !== other.epoch) return this.epoch > (other?.epoch ?? 0);
    return this.phase === "active" && other.phase === "preparing";
  }

  /** Whether both give the same experts to the same workers at the same addresses, whatever their epochs. */
  sameAssignments(other: PlacementTable): boolean {
    return (
      this.layers === other.layers &&
      this.experts === other.experts &&
      this.workers.length === other.workers.length &&
      this.workers.every((worker) => {
        const twin = other.workers.find((candidate) => candidate.id === worker.id);
        return twin?.address === worker.address && worker.experts.every((list, layer) => equal(list, twin.experts[layer]));
      })
    );
  }

  withPhase(phase: PlacementPhase): PlacementTable {
    return new PlacementTable({ ...this.spec(), phase });
  }

  /** The same assignments under another number. */
  withEpoch(epoch: number, phase: PlacementPhase): PlacementTable {
    return new PlacementTable({ ...this.spec(), epoch, phase });
  }

  spec(): PlacementTableSpec {
    const { epoch, phase, layers, experts, workers } = this;
    return { epoch, phase, layers, experts, workers };
  }
}

function equal(left: readonly number[], right: readonly number[] | undefined): boolean {
  return left.length === right?.length && left.every((value, index) => value === right[index]);
}

function invert(spec: PlacementTableSpec): number[][] {
  const holders: number[][] = Array.from({ length: spec.layers * spec.experts }, () => []);
  spec.workers.forEach((worker, index) => {
    worker.experts.forEach((list, layer) => {
      for (const expert of list) holders[layer * spec.experts + expert]?.push(index);
    });
  });
  return holders;
}

function check(spec: PlacementTableSpec): void {
  const fail = (message: string): never => {
    throw new AppError("INVALID_ARGUMENT", `placement: ${message}`);
  };
  if (!Number.isInteger(spec.epoch) || spec.epoch < 1 || spec.epoch > MAX_EPOCH) fail(`epoch must be 1 to ${MAX_EPOCH}`);
  if (new Set(spec.workers.map((worker) => worker.id)).size !== spec.workers.length) fail("a worker is named twice");
  for (const worker of spec.workers) {
    if (worker.experts.length !== spec.layers) fail(`worker ${worker.id}: expected ${spec.layers} layers`);
    worker.experts.forEach((list, layer) => {
      const ascending = list.every((expert, index) => Number.isInteger(expert) && expert > (list[index - 1] ?? -1));
      if (!ascending || (list.at(-1) ?? 0) >= spec.experts) {
        fail(`worker ${worker.id}, layer ${layer}: experts must ascend within 0 to ${spec.experts - 1}`);
      }
    });
  }
}
