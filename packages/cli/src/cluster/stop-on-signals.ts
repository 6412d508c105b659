import type { Cluster } from "./cluster.js";

/** npm and the terminal may both pass on one Ctrl-C: what follows within this time is the same one. */
const SAME_SIGNAL_MS = 500;

/** Resolves when a signal has come and the cluster has stopped. A second signal ends everything at once. */
export function stopOnSignals(cluster: Pick<Cluster, "stop" | "kill">, tell: (line: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let firstMs: number | undefined;
    const onSignal = () => {
      if (firstMs === undefined) {
        firstMs = performance.now();
        tell("\nstopping: running requests may finish (Ctrl-C again to stop at once)");
        cluster.stop().then(() => {
          tell("stopped");
          resolve();
        }, reject);
      } else if (performance.now() - firstMs > SAME_SIGNAL_MS) {
        cluster.kill();
        process.exit(130);
      }
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
    process.on("SIGHUP", onSignal);
  });
}
