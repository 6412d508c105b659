// The other process of the hop's measurement; forked by hop-benchmark.ts with the path of a socket to be.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { hopBenchModel, loopDelayOf } from "@moiety/attention-worker";
import { serveHopEcho } from "@moiety/expert-worker";
import { createLogger } from "@moiety/runtime";

const logger = createLogger({ service: "bench", instance: "hop-far-end", level: "silent" });
const { tcpAddress, unixAddress, tcpPort } = await serveHopEcho({
  model: hopBenchModel(),
  logger,
  socket: process.argv[2] ?? "",
});
const delay = monitorEventLoopDelay({ resolution: 1 });
process.once("disconnect", () => process.exit(0));
process.on("message", (message: { readonly watch: boolean }) => {
  if (message.watch) {
    delay.reset();
    delay.enable();
  } else delay.disable();
  process.send?.(loopDelayOf(delay));
});
process.send?.({ tcpAddress, unixAddress, tcpPort });
