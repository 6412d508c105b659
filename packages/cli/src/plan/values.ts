import { AppError, invariant } from "@moiety/core";
import { type ChartValue, formatValues, gibibytes } from "../chart-values.js";
import type { Device } from "./device.js";
import { type FleetWorker, withExpertWorkers } from "./fleet.js";
import { STEP_TOKENS, slotsOf } from "./memory.js";
import type { FleetPrediction, PlanRequest } from "./predict.js";

/** What attention workers take: the bounds of MOIETY_MAX_SEQUENCES and MOIETY_KV_TOKENS. */
const MOST_SEQUENCES = 4_096;
const MOST_KV_TOKENS = 2 ** 30;
/** Defaults of the gateway's MOIETY_MAX_REQUESTS and MOIETY_MAX_STREAMS, and of the chart's gateway.replicas. */
const GATEWAY_REQUESTS = 4_096;
const GATEWAYS = 2;
/** The chart's default. */
const THREADS = 4;
/** What the chart takes as the name of a pool. */
const POOL_NAME = /^[a-z]([-a-z0-9]{0,14}[a-z0-9])?$/;

export interface ValuesOptions {
  /** Name of the model in the API. */
  readonly modelName: string;
  /** Compute threads and cores of each worker; absent: those that its device's figures are for. */
  readonly threads?: number;
}

/**
 * The first prediction whose fleet holds the model, as values for charts/moiety. On uneven fleets a group of the fleet is a pool.
 * @throws AppError FAILED_PRECONDITION when none holds it, INVALID_ARGUMENT for what the chart cannot lay out.
 */
export function formatPlanValues(request: PlanRequest, predictions: readonly FleetPrediction[], options: ValuesOptions): string {
  if (request.fleet.oneMachine)
    throw new AppError("INVALID_ARGUMENT", "--values is for machines of their own, not --one-machine");
  const prediction = firstThatFits(request, predictions);
  const attention = attentionGroup(request, prediction);
  const pools = poolsOf(request, prediction);
  const values = {
    model: { name: options.modelName },
    ...gatewayValues(request),
    router: { config: { MOIETY_REPLICAS: request.replicas } },
    attention: attentionValues(request, attention, options),
    expertPools: pools.map((pool) => poolValues(request, pool, { ...options, workers: prediction.expertWorkers })),
  };
  return formatValues(comment(request, options, [attention, ...pools]), values);
}

/** Workers that are alike, as the chart makes them. */
interface Group {
  readonly name: string;
  readonly replicas: number;
  readonly device: Device;
  /** The most (layer, expert) pairs that the plan gives one of them. */
  readonly slots: number;
  /** Weights and KV cache. */
  readonly neededBytes: number;
  readonly headroomBytes: number;
}

function firstThatFits({ shape }: PlanRequest, predictions: readonly FleetPrediction[]): FleetPrediction {
  const found = predictions.find(({ fits }) => fits);
  if (found !== undefined) return found;
  const last = predictions.at(-1);
  invariant(last !== undefined, "a plan has a number of expert workers");
  const lacks = (["attention", "experts"] as const).flatMap((kind) => {
    const most = last.memory.filter((need) => need.kind === kind).toSorted((a, b) => b.lacksBytes - a.lacksBytes)[0];
    if (most === undefined || most.lacksBytes === 0) return [];
    return [`${most.worker} lacks ${most.lacksBytes} bytes (${(most.lacksBytes / 1e9).toFixed(2)} GB)`];
  });
  const { expertWorkers } = last;
  const count = `${expertWorkers} expert worker${expertWorkers === 1 ? "" : "s"}`;
  throw new AppError("FAILED_PRECONDITION", `the fleet does not hold ${shape.name}: with ${count}, ${lacks.join(", and ")}`);
}

/** The chart has attention workers of one kind. */
function attentionGroup({ fleet }: PlanRequest, { memory }: FleetPrediction): Group {
  const [worker, ...others] = fleet.attention;
  const [need] = memory;
  invariant(worker !== undefined && need !== undefined, "a fleet has an attention worker");
  if (others.some(({ device }) => !isAlike(device, worker.device))) {
    throw new AppError("INVALID_ARGUMENT", "--values: the chart has attention workers of one kind, but the fleet's differ");
  }
  const { weightsBytes, kvBytes, headroomBytes, slots } = need;
  const { device } = worker;
  return {
    name: "attention",
    replicas: fleet.attention.length,
    device,
    slots,
    neededBytes: weightsBytes + kvBytes,
    headroomBytes,
  };
}

const isAlike = (one: Device, other: Device) =>
  one.kind === other.kind && one.memoryBytes === other.memoryBytes && one.threads === other.threads;

function poolsOf({ fleet, shape }: PlanRequest, { expertWorkers, memory }: FleetPrediction): readonly Group[] {
  const needs = memory.filter(({ kind }) => kind === "experts");
  const pools = new Map<string, Group>();
  for (const [index, worker] of withExpertWorkers(fleet, expertWorkers).experts.entries()) {
    const need = needs[index];
    invariant(need !== undefined, "every expert worker has its memory counted");
    const known = pools.get(worker.pool);
    if (known !== undefined && !isAlike(known.device, worker.device)) throw unlikePools(worker);
    const slots = Math.max(known?.slots ?? 0, need.slots);
    pools.set(worker.pool, {
      name: poolName(worker),
      replicas: (known?.replicas ?? 0) + 1,
      device: worker.device,
      slots,
      neededBytes: slots * shape.expertBytes,
      headroomBytes: need.headroomBytes,
    });
  }
  return [...pools.values()];
}

function poolName({ pool }: FleetWorker): string {
  if (POOL_NAME.test(pool)) return pool;
  const expected = "a letter, then at most 15 of a to z, 0 to 9 and -, all of them small";
  throw new AppError(
    "INVALID_ARGUMENT",
    `--values: expected names of expert workers to be ${expected}, found ${JSON.stringify(pool)}`,
  );
}

function unlikePools({ pool }: FleetWorker): AppError {
  return new AppError(
    "INVALID_ARGUMENT",
    `--values: expert workers that differ are all named ${pool}; each kind is a pool of its own`,
  );
}

function sequencesOf({ fleet, workload }: PlanRequest): number {
  return Math.ceil(Math.max(...workload.batches) / fleet.attention.length);
}

function attentionValues(request: PlanRequest, group: Group, options: ValuesOptions): ChartValue {
  const sequences = sequencesOf(request);
  const kvTokens = sequences * request.workload.contextTokens;
  if (sequences > MOST_SEQUENCES || kvTokens > MOST_KV_TOKENS) {
    const found = `${sequences} sequences and ${kvTokens} tokens`;
    const most = `${MOST_SEQUENCES} sequences and ${MOST_KV_TOKENS} tokens`;
    throw new AppError("INVALID_ARGUMENT", `--values: an attention worker takes at most ${most}, found ${found}`);
  }
  return {
    replicas: group.replicas,
    ...processorValues(group, options),
    config: {
      MOIETY_KV_TOKENS: kvTokens,
      MOIETY_MAX_SEQUENCES: sequences,
      ...(sequences > STEP_TOKENS ? { MOIETY_STEP_TOKENS: sequences } : {}),
    },
    resources: resourcesOf(group, options),
  };
}

/** Each worker can hold what falls to it while one is away, where it has the memory: then its experts are taken over. */
function poolValues(request: PlanRequest, pool: Group, options: ValuesOptions & { readonly workers: number }): ChartValue {
  const { shape, replicas } = request;
  const [oneAway = pool.slots] = slotsOf(shape, Math.max(1, options.workers - 1), replicas);
  const oneAwayBytes = oneAway * shape.expertBytes;
  const takesOver = oneAwayBytes + pool.headroomBytes <= pool.device.memoryBytes;
  const group = takesOver ? { ...pool, slots: oneAway, neededBytes: oneAwayBytes } : pool;
  return {
    name: group.name,
    replicas: group.replicas,
    ...processorValues(group, options),
    capacitySlots: group.slots,
    resources: resourcesOf(group, options),
  };
}

const threadsOf = ({ device }: Group, { threads = device.threads ?? THREADS }: ValuesOptions) => threads;

function processorValues(group: Group, options: ValuesOptions): { readonly gpus: number; readonly threads: number } {
  return { gpus: group.device.kind === "gpu" ? 1 : 0, threads: threadsOf(group, options) };
}

function resourcesOf(group: Group, options: ValuesOptions): ChartValue {
  return {
    requests: { cpu: String(threadsOf(group, options)), memory: gibibytes(group.neededBytes) },
    limits: { memory: gibibytes(group.neededBytes + group.headroomBytes) },
  };
}

/** Gateways refuse requests beyond a number, which a large fleet computes at once. */
function gatewayValues({ workload }: PlanRequest): { readonly [key: string]: ChartValue } {
  const batch = Math.max(...workload.batches);
  if (batch <= GATEWAY_REQUESTS) return {};
  const replicas = Math.max(GATEWAYS, Math.ceil(batch / GATEWAY_REQUESTS));
  return { gateway: { replicas, config: { MOIETY_MAX_REQUESTS: batch } } };
}

function comment(request: PlanRequest, { modelName }: ValuesOptions, groups: readonly Group[]): readonly string[] {
  const { shape, workload, replicas, headroom } = request;
  const name = modelName === shape.name ? modelName : `${modelName} (${shape.name})`;
  const copies = replicas === 1 ? "one copy of each expert" : `${replicas} copies of each expert`;
  const each = `${sequencesOf(request)} sequences of ${workload.contextTokens} tokens`;
  const anyGpu = groups.some(({ device }) => device.kind === "gpu");
  return [
    `${name}, ${shape.layers} layers of ${shape.experts} experts, as \`moiety plan --values\` lays it out on`,
    ...groups.map(
      ({ name: group, replicas: count, device }) =>
        `- ${group}: ${count} x ${device.kind === "gpu" ? "GPU" : "CPU"} with ${(device.memoryBytes / 1e9).toFixed(1)} GB`,
    ),
    `for ${each} on each attention worker, ${copies}, and ${Number((headroom * 100).toFixed(1))}% of memory kept free.`,
    "Requested memory holds weights and KV cache; its limit is above that by what is kept free.",
    ...(anyGpu
      ? ["There is no GPU code yet: gpus reserves them for images of your own, and the chart's compute on the CPU."]
      : []),
    "Where the model, Redis and keys are, other values say: docs/kubernetes.md.",
  ];
}
