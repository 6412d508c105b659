import { createLogger, runUntilSignal } from "../dist/index.js";

const { drainMs, drainTimeoutMs, drainFails, unhandled } = JSON.parse(process.argv[2]);
const logger = createLogger({ service: "test", instance: "test", level: "info" });
const drain = async () => {
  if (drainFails) throw new Error("cannot let go");
  await new Promise((resolve) => setTimeout(resolve, drainMs));
};
runUntilSignal({ logger, drainTimeoutMs, drain });
setInterval(() => {}, 1_000);
if (unhandled) setTimeout(() => Promise.reject(new Error("nobody cares")), 100);
logger.info("started");
