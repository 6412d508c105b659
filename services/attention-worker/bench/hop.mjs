// Round trip of a call without compute between two processes, beside bare TCP. After `tsc -b`: node services/attention-worker/bench/hop.mjs
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { createLogger } from "@moiety/runtime";
import { benchHop, hopBenchModel } from "../dist/experts/hop-bench.js";

if (process.argv[2] === "far-end") {
  // biome-ignore lint/style/noRestrictedImports: a measurement has both ends.
  const { serveHopEcho } = await import("../../expert-worker/dist/bench/hop-echo.js");
  const logger = createLogger({ service: "hop-echo", instance: "hop-echo", level: "silent" });
  const { workerAddress, tcpPort } = await serveHopEcho({ model: hopBenchModel(), logger });
  process.send({ workerAddress, tcpPort });
  process.on("disconnect", () => process.exit(0));
} else {
  const farEnd = fork(fileURLToPath(import.meta.url), ["far-end"]);
  const [{ workerAddress, tcpPort }] = await once(farEnd, "message");
  const results = await benchHop({ workerAddress, tcpPort, rowCounts: [1, 8, 64, 256], measureMs: 800 });
  for (const { rows, bytes, hop, tcp, ratio } of results) {
    const show = ({ medianUs, p99Us }) => `${medianUs.toFixed(0).padStart(6)} ${p99Us.toFixed(0).padStart(6)}`;
    console.log(
      `${String(rows).padStart(4)} rows ${String(bytes).padStart(8)} B | hop ${show(hop)} | tcp ${show(tcp)} us | ${ratio.toFixed(2)}x`,
    );
  }
  farEnd.disconnect();
}
