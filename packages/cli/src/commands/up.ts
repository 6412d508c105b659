import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { AppError } from "@moiety/core";
import type { ActivationChoice } from "@moiety/kernels";
import { openCheckpoint } from "@moiety/model";
import { Command, Option } from "commander";
import { Cluster } from "../cluster/cluster.js";
import type { ClusterOptions } from "../cluster/cluster-options.js";
import { DEFAULT_MODEL_FOLDER } from "../cluster/default-model.js";
import { checkPortIsFree, freePorts } from "../cluster/ports.js";
import { findRedisServer } from "../cluster/redis-server.js";
import { endLeftovers } from "../cluster/run-file.js";
import { planCluster, portsNeeded } from "../cluster/run-plan.js";
import { stopOnSignals } from "../cluster/stop-on-signals.js";
import { displayPath } from "../display-path.js";
import { activationOption, integerBetween, kernelLevelOption } from "../option-values.js";
import { welcome } from "./welcome.js";

/** The flags of `moiety up` as they were parsed. */
export interface UpFlags {
  readonly model?: string;
  readonly modelName?: string;
  readonly port: number;
  readonly host: string;
  readonly experts?: number;
  readonly attention: number;
  readonly colocated: boolean;
  readonly replicas: number;
  readonly threads?: number;
  readonly activation?: ActivationChoice;
  readonly kernelLevel?: string;
  readonly tcp?: boolean;
  readonly dataDir: string;
  readonly redisUrl?: string;
}

const EXAMPLES = `
Examples:
  $ moiety up                                        a tiny trained model on http://127.0.0.1:8080
  $ moiety up --model ./gpt-oss-20b --experts 4      a checkpoint, its experts on four workers
  $ moiety up --experts 3 --replicas 2               every expert on two of three workers
  $ moiety up --colocated                            the baseline: experts inside the attention worker
  $ moiety up --redis-url redis://10.0.0.5:6379      a Redis that runs already

Ctrl-C finishes running requests and stops; a second Ctrl-C stops at once.`;

/** `moiety up`. */
export function upCommand(run: (flags: UpFlags) => Promise<void> = up): Command {
  return new Command("up")
    .summary("start a whole cluster on this machine")
    .description(
      "Starts Redis, a router, expert workers, attention workers and a gateway as separate processes, and keeps them running.",
    )
    .addOption(new Option("--model <folder>", "checkpoint to serve; default: a tiny trained one").env("MOIETY_MODEL"))
    .addOption(new Option("--model-name <name>", "its name in the API; default: the folder's name").env("MOIETY_MODEL_NAME"))
    .addOption(
      new Option("--port <port>", "port of the API").env("MOIETY_PORT").default(8080).argParser(integerBetween(1, 65_535)),
    )
    .addOption(new Option("--host <address>", "address of the API").env("MOIETY_HOST").default("127.0.0.1"))
    .option("--experts <count>", "expert workers (default: 2)", integerBetween(1, 256))
    .option("--attention <count>", "attention workers", integerBetween(1, 64), 1)
    .addOption(new Option("--colocated", "hold the experts inside the attention workers").default(false))
    .addOption(
      new Option("--replicas <count>", "copies of every expert")
        .env("MOIETY_REPLICAS")
        .default(1)
        .argParser(integerBetween(1, 16)),
    )
    .addOption(
      new Option("--threads <count>", "compute threads of each worker; default: the machine's cores, shared out")
        .env("MOIETY_THREADS")
        .argParser(integerBetween(1, 1_024)),
    )
    .addOption(activationOption())
    .addOption(kernelLevelOption())
    .addOption(
      new Option("--tcp", "have workers reach each other over TCP; default: over Unix sockets, or TCP when TLS is set up"),
    )
    .addOption(
      new Option("--data-dir <folder>", "Redis's data, logs of this run and the one before, run.json")
        .env("MOIETY_DATA_DIR")
        .default(".moiety"),
    )
    .addOption(new Option("--redis-url <url>", "a Redis that runs already; default: a private one").env("MOIETY_REDIS_URL"))
    .addHelpText("after", EXAMPLES)
    .action(run);
}

/** Fills in defaults. @throws AppError INVALID_ARGUMENT for flags that contradict each other. */
export function clusterOptionsOf(flags: UpFlags, model: string): ClusterOptions {
  if (flags.colocated && flags.experts !== undefined) {
    throw new AppError("INVALID_ARGUMENT", "--colocated and --experts exclude each other: co-located experts need no workers");
  }
  const experts = flags.colocated ? 0 : (flags.experts ?? 2);
  if (!flags.colocated && flags.replicas > experts) {
    const message = `--replicas ${flags.replicas} needs as many expert workers, but --experts is ${experts}`;
    throw new AppError("INVALID_ARGUMENT", message);
  }
  const share = Math.max(1, Math.floor(availableParallelism() / (experts + flags.attention)));
  return {
    model,
    modelName: flags.modelName ?? basename(model),
    host: flags.host,
    port: flags.port,
    experts,
    attention: flags.attention,
    colocated: flags.colocated,
    replicas: flags.replicas,
    threads: flags.threads ?? share,
    ...(flags.activation === undefined ? {} : { activation: flags.activation }),
    ...(flags.kernelLevel === undefined ? {} : { kernelLevel: flags.kernelLevel }),
    ...(flags.tcp === undefined ? {} : { tcp: flags.tcp }),
    dataDir: resolve(flags.dataDir),
    ...(flags.redisUrl === undefined ? {} : { redisUrl: flags.redisUrl }),
  };
}

async function up(flags: UpFlags): Promise<void> {
  const begunMs = performance.now();
  const tell = (line: string) => console.log(line);
  const dataDir = resolve(flags.dataDir);
  const model = flags.model === undefined ? DEFAULT_MODEL_FOLDER : resolve(flags.model);
  // Certificates name hosts.
  const tcp = flags.tcp === true || (process.env["MOIETY_TLS_CA"] ?? "") !== "";
  const options = clusterOptionsOf({ ...flags, tcp }, model);
  const leftovers = await endLeftovers(dataDir);
  if (leftovers.length > 0) tell(`ended what an earlier cluster left behind: ${leftovers.join(", ")}`);
  await checkPortIsFree(flags.host, flags.port);
  await openCheckpoint(model);
  const plan = planCluster(options, await freePorts(portsNeeded(options)));
  const cluster = new Cluster({
    plan,
    url: `http://${options.host}:${options.port}`,
    moiety: [process.execPath, fileURLToPath(new URL("../../bin/moiety.js", import.meta.url))],
    ...(plan.redis === undefined ? {} : { redisServer: findRedisServer(process.env) }),
    dataDir,
    environment: process.env,
    drainTimeoutMs: drainTimeoutOf(process.env),
    tell,
  });
  const stopped = stopOnSignals(cluster, tell);
  tell(`starting ${plan.services.length + (plan.redis === undefined ? 0 : 1)} processes; logs in ${displayPath(cluster.logDir)}`);
  try {
    await cluster.start();
  } catch (error) {
    // A signal during the start is no fault.
    if (error instanceof AppError && error.code === "CANCELLED") return await stopped;
    throw error;
  }
  const hasKeys = [process.env["MOIETY_API_KEYS"], process.env["MOIETY_API_KEYS_FILE"]].some(
    (text) => text !== undefined && text !== "",
  );
  const chats = existsSync(join(model, "tokenizer.json"));
  tell(welcome({ options, seconds: (performance.now() - begunMs) / 1000, logDir: cluster.logDir, hasKeys, chats }));
  await stopped;
}

/** Each service checks the same variable itself; here it only bounds how long to wait for them. */
function drainTimeoutOf(environment: NodeJS.ProcessEnv): number {
  const given = Number(environment["MOIETY_DRAIN_TIMEOUT_MS"] || Number.NaN);
  return Number.isFinite(given) && given >= 0 ? given : 30_000;
}
