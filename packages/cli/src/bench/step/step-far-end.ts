// The engine of the measurement, in a process of its own; forked by step-benchmark.ts.
import { openEngineBench } from "@moiety/attention-worker";
import { engineSettingsSchema } from "./step-settings.js";

const settings = engineSettingsSchema.parse(JSON.parse(process.argv[2] ?? "{}"));
const bench = await openEngineBench(settings);
process.once("disconnect", () => process.exit(0));
process.on("message", () => {
  process.send?.(bench.take());
});
process.send?.("ready");
