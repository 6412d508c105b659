import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openKernels } from "../src/index.js";
import { openNative } from "../src/open-kernels.js";

/** The niceness of every thread of this process. */
function niceness(): number[] {
  return readdirSync("/proc/self/task").map((thread) => {
    const fields = readFileSync(`/proc/self/task/${thread}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return Number(fields[16]);
  });
}

describe.runIf(process.platform === "linux")("compute threads", () => {
  it("give way to event loops", async () => {
    const nice = (threads: readonly number[]) => threads.filter((each) => each === base + 5).length;
    const base = Math.min(...niceness());
    const before = nice(niceness());
    const kernels = openKernels({ threads: 3 });
    await expect.poll(() => nice(niceness())).toBe(before + 3);
    await kernels.close();
  });
});

describe("the operation that computes", () => {
  it("can be asked how long it has, while it does", async () => {
    const kernels = openNative({ threads: 1 });
    expect(kernels.runningMs).toBe(0);
    let isDone = false;
    const measured = kernels.measure({ kind: "read", bytes: 64 * 2 ** 20 }).finally(() => {
      isDone = true;
    });
    let most = 0;
    while (!isDone) {
      most = Math.max(most, kernels.runningMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await measured;
    expect(most).toBeGreaterThan(0);
    await expect.poll(() => kernels.runningMs).toBe(0);
    await kernels.close();
    expect(kernels.runningMs).toBe(0);
  });
});
