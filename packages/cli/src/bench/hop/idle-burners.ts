import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";

/**
 * Keeps every core from halting, with processes that run only where nobody else wants to: waking a halted core takes longer than
 * much of what is measured, above all on virtual machines. Returns how to stop it; absent: this system has no `chrt`.
 */
export async function keepCoresAwake(): Promise<(() => void) | undefined> {
  const burners: ChildProcess[] = [];
  const stop = () => {
    for (const burner of burners) burner.kill("SIGKILL");
    process.off("exit", stop);
  };
  process.once("exit", stop);
  for (let core = 0; core < availableParallelism(); core += 1) {
    const endless = ["--idle", "0", process.execPath, "-e", "const end = Date.now() + 300_000; while (Date.now() < end);"];
    const burner = spawn("chrt", endless, { stdio: "ignore" });
    burners.push(burner);
    const started = await once(burner, "spawn").catch(() => undefined);
    if (started !== undefined) continue;
    stop();
    return undefined;
  }
  return stop;
}
