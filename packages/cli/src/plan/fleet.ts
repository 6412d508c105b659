import { invariant } from "@moiety/core";
import { z } from "zod";
import { type Device, shareOf } from "./device.js";
import { DEVICE_NAMES, presetDevice } from "./device-presets.js";
import { parseInput } from "./parse-input.js";

/** A call to one expert worker and back, without compute and without a network between. */
export interface HopCost {
  readonly constantUs: number;
  /** Per 1,000 bytes of rows, both directions added. */
  readonly usPerKb: number;
}

/** The network between attention workers and expert workers. */
export interface Link {
  /** One way. */
  readonly latencyUs: number;
  readonly gbPerSecond: number;
}

export interface FleetWorker {
  readonly name: string;
  /** Name of the group that it is one of. */
  readonly pool: string;
  readonly device: Device;
}

export interface Fleet {
  readonly attention: readonly FleetWorker[];
  readonly experts: readonly FleetWorker[];
  readonly hop: HopCost;
  readonly link: Link;
  /** All workers are processes of one machine: they share its memory, and take turns on its processor. */
  readonly oneMachine: boolean;
}

/**
 * `moiety bench hop` as recorded in docs/benchmarks.md, fitted: see fitHop. A tuned prototype reached 65 us and 0.5 us per KB, which is
 * what the data plane can still gain.
 */
export const RECORDED_HOP: HopCost = { constantUs: 256, usPerKb: 1.47 };

/** An assumption: 10 Gbit/s Ethernet behind one switch. */
export const DEFAULT_LINK: Link = { latencyUs: 25, gbPerSecond: 1.25 };

/** Between processes of one machine: the hop's own cost holds all of it. */
export const NO_LINK: Link = { latencyUs: 0, gbPerSecond: Number.POSITIVE_INFINITY };

const positive = z.number().positive().max(1e18);
const deviceSchema = z.union([
  z.enum(DEVICE_NAMES),
  z.strictObject({
    memoryBytes: positive,
    readGbPerSecond: positive,
    bf16GflopPerSecond: positive,
    mxfp4GflopPerSecond: positive.optional(),
    kind: z.enum(["cpu", "gpu"]).optional(),
    threads: z.int().min(1).max(256).optional(),
  }),
]);
const workerSchema = z.strictObject({
  name: z.string().min(1).max(64).optional(),
  device: deviceSchema,
  count: z.int().min(1).max(64).optional(),
});
const fleetSchema = z.strictObject({
  attention: z.array(workerSchema).min(1).max(64),
  experts: z.array(workerSchema).min(1).max(64),
  hop: z.strictObject({ constantUs: z.number().min(0).max(1e9), usPerKb: z.number().min(0).max(1e9) }).optional(),
  link: z.strictObject({ latencyUs: z.number().min(0).max(1e9), gbPerSecond: positive }).optional(),
  oneMachine: z.boolean().optional(),
});

/** A fleet from its description. @throws AppError INVALID_ARGUMENT that names the field. */
export function parseFleet(value: unknown, file: string): Fleet {
  const { attention, experts, hop, link, oneMachine = false } = parseInput(fleetSchema, value, file);
  return {
    attention: expand(attention, "attention"),
    experts: expand(experts, "experts"),
    hop: hop ?? RECORDED_HOP,
    link: link ?? (oneMachine ? NO_LINK : DEFAULT_LINK),
    oneMachine,
  };
}

function expand(groups: readonly z.output<typeof workerSchema>[], kind: string): FleetWorker[] {
  return groups.flatMap(({ name = kind, device, count = 1 }, group) => {
    const parsed = toDevice(device);
    const base = groups.length > 1 && name === kind ? `${name}-${group}` : name;
    const nameOf = (index: number) => (count === 1 ? base : `${base}-${index}`);
    return Array.from({ length: count }, (_, index) => ({ name: nameOf(index), pool: base, device: parsed }));
  });
}

function toDevice(device: z.output<typeof deviceSchema>): Device {
  if (typeof device === "string") return presetDevice(device);
  const { memoryBytes, readGbPerSecond, bf16GflopPerSecond, mxfp4GflopPerSecond = bf16GflopPerSecond } = device;
  const { kind = "cpu", threads } = device;
  return {
    kind,
    ...(threads === undefined ? {} : { threads }),
    memoryBytes,
    readBytesPerSecond: readGbPerSecond * 1e9,
    bf16: [{ rows: 1, flopPerSecond: bf16GflopPerSecond * 1e9 }],
    mxfp4: [{ rows: 1, flopPerSecond: mxfp4GflopPerSecond * 1e9 }],
  };
}

/**
 * The same fleet with so many expert workers: the first ones of its list, which is repeated when it is too short. On one machine each
 * gets an equal share of its device.
 */
export function withExpertWorkers({ experts, ...fleet }: Fleet, count: number): Fleet {
  const chosen = Array.from({ length: count }, (_, index) => {
    const worker = experts[index % experts.length];
    invariant(worker !== undefined, "a fleet has an expert worker");
    const name = count > experts.length ? `${worker.name}/${Math.floor(index / experts.length)}` : worker.name;
    return { name, pool: worker.pool, device: fleet.oneMachine ? shareOf(worker.device, 1 / count) : worker.device };
  });
  return { ...fleet, experts: chosen };
}
