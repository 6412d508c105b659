import type { Environment } from "@moiety/runtime";
import { Argument, Command } from "commander";
import { SERVICES, type Service } from "../cluster/run-plan.js";

const EXAMPLES = `
Services take their configuration from the environment, as docs/configuration.md says.

Examples:
  $ MOIETY_LISTEN_ADDRESS=0.0.0.0:7070 moiety serve router
  $ MOIETY_WORKER_ID=expert-0 MOIETY_CHECKPOINT=/models/gpt-oss-20b MOIETY_ROUTER_ADDRESS=router:7070 moiety serve expert-worker
  $ MOIETY_MODEL=/models/gpt-oss-20b MOIETY_REDIS_URL=redis://redis:6379 MOIETY_ROUTER_ADDRESS=router:7070 moiety serve attention-worker
  $ MOIETY_CHECKPOINT=/models/gpt-oss-20b MOIETY_REDIS_URL=redis://redis:6379 moiety serve gateway`;

/** Loaded on demand: a gateway has no use for the kernels. */
const MAIN: Readonly<Record<Service, () => Promise<{ main(environment: Environment): Promise<void> }>>> = {
  gateway: () => import("@moiety/gateway"),
  router: () => import("@moiety/router"),
  "attention-worker": () => import("@moiety/attention-worker"),
  "expert-worker": () => import("@moiety/expert-worker"),
};

/** `moiety serve <service>`: one process of a cluster. */
export function serveCommand(run: (service: Service) => Promise<void> = serve): Command {
  return new Command("serve")
    .summary("run one process of a cluster")
    .description("Runs one process of a cluster until SIGTERM, which makes it finish its work first.")
    .addArgument(new Argument("<service>", "which one").choices(SERVICES))
    .addHelpText("after", EXAMPLES)
    .action(run);
}

async function serve(service: Service): Promise<void> {
  if (process.channel !== undefined) {
    // The channel to `moiety up`: when that is gone, nobody would stop this process.
    process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
    process.channel.unref();
  }
  const { main } = await MAIN[service]();
  await main(process.env);
}
