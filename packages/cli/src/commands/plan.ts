import { AppError } from "@moiety/core";
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { modelNameOf } from "../chart-values.js";
import { integerBetween, integersBetween, numberBetween } from "../option-values.js";
import { benchedShape, checkPrediction } from "../plan/check.js";
import { DEVICE_NAMES, type DeviceName, presetDevice } from "../plan/device-presets.js";
import { DEFAULT_LINK, type Fleet, NO_LINK, parseFleet, RECORDED_HOP } from "../plan/fleet.js";
import { benchmarkOf, type Measured, measuredDevice, measuredHop, parseMeasured } from "../plan/measured.js";
import { type PlanShape, releasedShape, shapeFromConfig } from "../plan/plan-shape.js";
import { predict } from "../plan/predict.js";
import { formatCheck, formatPlan } from "../plan/report.js";
import { formatPlanValues } from "../plan/values.js";
import { readCheckpointConfig, readJson } from "./plan-files.js";

export interface PlanFlags {
  readonly shape?: "20b" | "120b";
  readonly fleet?: string;
  readonly device?: DeviceName;
  readonly attentionDevice?: DeviceName;
  readonly expertDevice?: DeviceName;
  readonly measured?: string;
  readonly check?: string;
  readonly attention?: number;
  readonly experts?: readonly number[];
  readonly oneMachine: boolean;
  readonly linkGbit?: number;
  readonly linkLatencyUs?: number;
  readonly hopUs?: number;
  readonly hopUsPerKb?: number;
  readonly replicas: number;
  readonly batch: readonly number[];
  readonly context: number;
  readonly prefill: number;
  readonly headroom: number;
  readonly json: boolean;
  readonly values: boolean;
  readonly threads?: number;
}

const EXAMPLES = `
Examples:
  $ moiety plan --shape 120b --device rtx-4090 --experts 3,7
  $ moiety plan ./gpt-oss-20b --attention-device h100 --expert-device l4 --batch 1,64,256
  $ moiety plan --shape 120b --fleet fleet.json --json
  $ moiety plan --shape 120b --device rtx-4090 --batch 32 --context 8192 --values | helm install moiety charts/moiety -f model.yaml -f -
  $ moiety bench kernels hop --threads 8 --json here.json && moiety plan --shape 20b --measured here.json --one-machine --experts 1,2
  $ moiety bench kernels hop model --threads 8 --json here.json && moiety plan --check here.json

Device presets (published figures; see docs/sizing.md): ${DEVICE_NAMES.join(", ")}`;

const MAX_WORKERS = 64;
/** The router's MOIETY_REPLICAS. */
const MAX_REPLICAS = 16;

/** `moiety plan [checkpoint]`. */
export function planCommand(run: (folder: string | undefined, flags: PlanFlags) => Promise<void> = plan): Command {
  return new Command("plan")
    .summary("predict what a fleet can hold and how fast it is")
    .description(
      "Predicts memory, traffic, step times and the bottleneck of a fleet, from a checkpoint's config.json and the fleet's figures. Measures nothing.",
    )
    .addArgument(new Argument("[checkpoint]", "folder with a config.json; the weights need not be there"))
    .addOption(new Option("--shape <name>", "a released shape instead of a checkpoint").choices(["20b", "120b"]))
    .option("--fleet <file>", "description of the workers, as JSON")
    .addOption(new Option("--device <name>", "preset for all workers").choices(DEVICE_NAMES))
    .addOption(new Option("--attention-device <name>", "preset for attention workers").choices(DEVICE_NAMES))
    .addOption(new Option("--expert-device <name>", "preset for expert workers").choices(DEVICE_NAMES))
    .option("--measured <file>", "all workers are such machines: what moiety bench kernels hop --json wrote")
    .option("--check <file>", "compare predictions with what moiety bench kernels hop model --json wrote, and plan nothing")
    .option("--attention <count>", "attention workers (default: 1)", integerBetween(1, MAX_WORKERS))
    .option(
      "--experts <counts>",
      "numbers of expert workers (default: the fleet's, or 1,2,4,... to 64)",
      integersBetween(1, MAX_WORKERS),
    )
    .option("--one-machine", "all workers share one machine's memory and processor", false)
    .option("--link-gbit <rate>", "network, Gbit/s (default: 10)", numberBetween(0.001, 1e6))
    .option("--link-latency-us <time>", "network, one way (default: 25)", numberBetween(0, 1e7))
    .option("--hop-us <time>", `a call without compute or network (default: ${RECORDED_HOP.constantUs})`, numberBetween(0, 1e7))
    .option("--hop-us-per-kb <time>", `of it, per 1,000 bytes (default: ${RECORDED_HOP.usPerKb})`, numberBetween(0, 1e6))
    .option("--replicas <count>", "workers that hold each expert", integerBetween(1, MAX_REPLICAS), 1)
    .option("--batch <counts>", "sequences at a time, all attention workers together", integersBetween(1, 65_536), [1, 16, 64])
    .option("--context <tokens>", "tokens of each sequence", integerBetween(1, 1_048_576), 4_096)
    .option("--prefill <tokens>", "tokens of a prompt per step", integerBetween(1, 16_384), 256)
    .option("--headroom <share>", "share of memory to keep free", belowOne, 0.1)
    .addOption(new Option("--json", "print JSON").default(false).conflicts("values"))
    .addOption(
      new Option("--values", "print values for charts/moiety, of the fewest expert workers that hold the model")
        .default(false)
        .conflicts(["check", "oneMachine"]),
    )
    .option(
      "--threads <count>",
      "compute threads of each worker, for --values (default: the device's, or 4)",
      integerBetween(1, 256),
    )
    .addHelpText("after", EXAMPLES)
    .action(run);
}

function belowOne(text: string): number {
  const value = numberBetween(0, 1)(text);
  if (value < 1) return value;
  throw new InvalidArgumentError("Expected a number from 0 to below 1.");
}

async function plan(folder: string | undefined, flags: PlanFlags): Promise<void> {
  const named = await namedShape(folder, flags.shape);
  if (flags.check !== undefined) return printCheck(parseMeasured(await readJson(flags.check), flags.check), named, flags.json);
  if (named === undefined) throw new AppError("INVALID_ARGUMENT", "expected a checkpoint's folder, or --shape 20b or 120b");
  const fleet = await fleetOf(flags);
  const workload = { batches: flags.batch, contextTokens: flags.context, prefillTokens: flags.prefill };
  const { replicas, headroom } = flags;
  const expertWorkers = flags.experts ?? (flags.values ? candidates(flags, fleet, named) : defaultCounts(fleet, named));
  const request = { shape: named, fleet, expertWorkers, workload, replicas, headroom };
  const predictions = predict(request);
  if (flags.values) {
    const { threads } = flags;
    const modelName = folder === undefined ? named.name : modelNameOf(named.name, folder);
    console.log(formatPlanValues(request, predictions, { modelName, ...(threads === undefined ? {} : { threads }) }));
  } else if (flags.json) print({ shape: named, workload, replicas, headroom, fleet: describe(fleet), predictions });
  else console.log(formatPlan(named, workload, predictions));
}

function printCheck(measured: Measured, named: PlanShape | undefined, json: boolean): void {
  const { machine, quick } = measured;
  const cases = checkPrediction(measured, named ?? benchedShape(benchmarkOf(measured, "model")));
  if (quick && !json) console.log("A quick run: its figures show that it works, no more.\n");
  if (json) print({ machine, quick, cases });
  else console.log(formatCheck(cases));
}

async function namedShape(folder: string | undefined, name: PlanFlags["shape"]): Promise<PlanShape | undefined> {
  if (folder !== undefined && name !== undefined) {
    throw new AppError("INVALID_ARGUMENT", "a checkpoint's folder and --shape exclude each other");
  }
  if (folder !== undefined) return shapeFromConfig(await readCheckpointConfig(folder));
  return name === undefined ? undefined : releasedShape(name);
}

/** A fleet from one of its three sources; flags replace what the source says of hop and link. */
async function fleetOf(flags: PlanFlags): Promise<Fleet> {
  const fleet = flags.fleet !== undefined ? await describedFleet(flags.fleet, flags) : await uniformFleet(flags);
  const { hopUs = fleet.hop.constantUs, hopUsPerKb = fleet.hop.usPerKb } = flags;
  const { linkGbit, linkLatencyUs = fleet.link.latencyUs } = flags;
  const gbPerSecond = linkGbit === undefined ? fleet.link.gbPerSecond : linkGbit / 8;
  return {
    ...fleet,
    hop: { constantUs: hopUs, usPerKb: hopUsPerKb },
    link: { latencyUs: linkLatencyUs, gbPerSecond },
  };
}

async function describedFleet(file: string, flags: PlanFlags): Promise<Fleet> {
  for (const flag of ["device", "attentionDevice", "expertDevice", "measured", "attention"] as const) {
    if (flags[flag] === undefined) continue;
    throw new AppError("INVALID_ARGUMENT", `--fleet describes the workers; it excludes --${kebab(flag)}`);
  }
  const fleet = parseFleet(await readJson(file), file);
  return flags.oneMachine ? { ...fleet, oneMachine: true, link: NO_LINK } : fleet;
}

const kebab = (flag: string) => flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

async function uniformFleet(flags: PlanFlags): Promise<Fleet> {
  const { device, attentionDevice = device, expertDevice = device, attention = 1, oneMachine } = flags;
  const measured = flags.measured === undefined ? undefined : parseMeasured(await readJson(flags.measured), flags.measured);
  const deviceFor = (name: DeviceName | undefined, flag: string) => {
    if (name !== undefined) return presetDevice(name);
    if (measured !== undefined) return measuredDevice(measured);
    throw new AppError("INVALID_ARGUMENT", `expected --fleet, --measured, --device or ${flag}`);
  };
  const attentionWorker = deviceFor(attentionDevice, "--attention-device");
  return {
    attention: Array.from({ length: attention }, (_, index) => ({
      name: `attention-${index}`,
      pool: "attention",
      device: attentionWorker,
    })),
    experts: [{ name: "experts", pool: "experts", device: deviceFor(expertDevice, "--expert-device") }],
    hop: measured === undefined ? RECORDED_HOP : measuredHop(measured),
    link: oneMachine ? NO_LINK : DEFAULT_LINK,
    oneMachine,
  };
}

/** A fleet of listed workers as it is; a fleet of one kind in powers of two, as far as there are experts. */
function defaultCounts(fleet: Fleet, shape: PlanShape): readonly number[] {
  if (fleet.experts.length > 1) return [fleet.experts.length];
  return [1, 2, 4, 8, 16, 32, MAX_WORKERS].filter((count) => count <= shape.experts);
}

/** For values: a described fleet as it is; of one kind as many as it takes, so that the first that fits is the smallest fleet. */
function candidates({ fleet: file }: PlanFlags, fleet: Fleet, shape: PlanShape): readonly number[] {
  if (file !== undefined) return [fleet.experts.length];
  return Array.from({ length: Math.min(MAX_WORKERS, shape.experts) }, (_, index) => index + 1);
}

/** JSON knows no infinity: a link without a limit is absent. */
function describe({ link, ...fleet }: Fleet): unknown {
  return Number.isFinite(link.gbPerSecond) ? { ...fleet, link } : fleet;
}

function print(value: unknown): void {
  console.log(JSON.stringify(value, undefined, 2));
}
