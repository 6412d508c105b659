import type { Environment } from "@moiety/runtime";
import { Argument, Command } from "commander";
import type { z } from "zod";
import { SERVICES, type Service } from "../cluster/run-plan.js";
import { listConfig } from "./list-config.js";

const EXAMPLES = `
Services take their configuration from the environment.

Examples:
  $ moiety serve gateway --list-config
  $ MOIETY_LISTEN_ADDRESS=0.0.0.0:7070 moiety serve router
  $ MOIETY_WORKER_ID=expert-0 MOIETY_MODEL=/models/gpt-oss-20b MOIETY_ROUTER_ADDRESS=router:7070 moiety serve expert-worker
  $ MOIETY_MODEL=/models/gpt-oss-20b MOIETY_REDIS_URL=redis://redis:6379 MOIETY_ROUTER_ADDRESS=router:7070 moiety serve attention-worker
  $ MOIETY_MODEL=/models/gpt-oss-20b MOIETY_REDIS_URL=redis://redis:6379 moiety serve gateway`;

interface ServiceModule {
  readonly schema: z.ZodObject;
  main(environment: Environment): Promise<void>;
}

/** Loaded on demand: a gateway has no use for the kernels. */
const MODULES: Readonly<Record<Service, () => Promise<ServiceModule>>> = {
  gateway: async () => {
    const { gatewayConfigSchema: schema, main } = await import("@moiety/gateway");
    return { schema, main };
  },
  router: async () => {
    const { routerConfigSchema: schema, main } = await import("@moiety/router");
    return { schema, main };
  },
  "attention-worker": async () => {
    const { attentionWorkerConfigSchema: schema, main } = await import("@moiety/attention-worker");
    return { schema, main };
  },
  "expert-worker": async () => {
    const { expertWorkerConfigSchema: schema, main } = await import("@moiety/expert-worker");
    return { schema, main };
  },
};

export interface ServeFlags {
  readonly listConfig: boolean;
}

/** `moiety serve <service>`: one process of a cluster. */
export function serveCommand(run: (service: Service, flags: ServeFlags) => Promise<void> = serve): Command {
  return new Command("serve")
    .summary("run one process of a cluster")
    .description("Runs one process of a cluster until SIGTERM, which makes it finish its work first.")
    .addArgument(new Argument("<service>", "which one").choices(SERVICES))
    .option("--list-config", "list its environment variables and end", false)
    .addHelpText("after", EXAMPLES)
    .action(run);
}

async function serve(service: Service, flags: ServeFlags): Promise<void> {
  const { schema, main } = await MODULES[service]();
  if (flags.listConfig) return console.log(listConfig(schema));
  if (process.channel !== undefined) {
    // The channel to `moiety up`: when that is gone, nobody would stop this process.
    process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
    process.channel.unref();
  }
  await main(process.env);
}
