import { invariant } from "@moiety/core";

/** Operations per second of linears on so many rows. */
export interface ComputeRate {
  readonly rows: number;
  readonly flopPerSecond: number;
}

/** What one worker's processor sustains: not a data sheet's peaks, but what its kernels get of them. */
export interface Device {
  readonly kind: "gpu" | "cpu";
  /** Compute threads that the figures are for, where that is known. */
  readonly threads?: number;
  readonly memoryBytes: number;
  readonly readBytesPerSecond: number;
  /** By ascending rows, at least one. A single one holds for any number of rows. */
  readonly bf16: readonly ComputeRate[];
  /** The same for linears with packed weights, unpacking included. */
  readonly mxfp4: readonly ComputeRate[];
}

/**
 * Seconds of arithmetic on so many rows of so many operations each. Between two measured numbers of rows the time is interpolated
 * linearly; beyond the last it grows with the rows; below the first it stays, since weights have to be unpacked for one row as well.
 */
export function computeSeconds(
  rates: readonly ComputeRate[],
  work: { readonly rows: number; readonly rowFlops: number },
): number {
  const { rows, rowFlops } = work;
  const first = rates[0];
  const last = rates.at(-1);
  invariant(first !== undefined && last !== undefined, "a device has a rate");
  if (rates.length === 1 || rows >= last.rows) return (rows * rowFlops) / last.flopPerSecond;
  const seconds = (rate: ComputeRate) => (rate.rows * rowFlops) / rate.flopPerSecond;
  if (rows <= first.rows) return seconds(first);
  const above = rates.findIndex((rate) => rate.rows > rows);
  const [low, high] = [rates[above - 1], rates[above]];
  invariant(low !== undefined && high !== undefined, "rows lie between two rates");
  const share = (rows - low.rows) / (high.rows - low.rows);
  return seconds(low) + share * (seconds(high) - seconds(low));
}

/** What is left of a device's speed when it is one of several that take `share` (0 to 1) of it each. Memory is not divided. */
export function shareOf(device: Device, share: number): Device {
  const slower = (rates: readonly ComputeRate[]) => rates.map((rate) => ({ ...rate, flopPerSecond: rate.flopPerSecond * share }));
  return {
    ...device,
    readBytesPerSecond: device.readBytesPerSecond * share,
    bf16: slower(device.bf16),
    mxfp4: slower(device.mxfp4),
  };
}
