const FIRST_MS = 200;
const LONGEST_MS = 10_000;
/** A process that lived so long had started well: the next back-off is the first again. */
const STEADY_MS = 30_000;

/** How long to wait before a process is started again, after `failures` short lives in a row. */
export function backOffMs(failures: number): number {
  return Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, failures - 1));
}

/** How many short lives in a row there have been, given the last one's length. */
export function countFailures(failures: number, livedMs: number): number {
  return livedMs >= STEADY_MS ? 1 : failures + 1;
}
