// The other process of the hop's measurement; forked by hop-benchmark.ts.
import { hopBenchModel } from "@moiety/attention-worker";
import { serveHopEcho } from "@moiety/expert-worker";
import { createLogger } from "@moiety/runtime";

const logger = createLogger({ service: "bench", instance: "hop-far-end", level: "silent" });
const { workerAddress, tcpPort } = await serveHopEcho({ model: hopBenchModel(), logger });
process.once("disconnect", () => process.exit(0));
process.send?.({ workerAddress, tcpPort });
