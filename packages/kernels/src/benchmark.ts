import { openNative } from "./open-kernels.js";
import type { KernelLevel } from "./types.js";

/** pairs: bf16 weights, packed, times rows in bf16. int8: MXFP4 weights, repacked, times rows in int8. */
type LinearFormat = "pairs" | "mxfp4" | "int8";

/** A linear of gpt-oss, by what it is in the model. */
interface LinearShape {
  readonly name: string;
  readonly format: LinearFormat;
  readonly in: number;
  readonly out: number;
}

const GPT_OSS_LINEARS: readonly LinearShape[] = [
  { name: "attention query", format: "pairs", in: 2880, out: 4096 },
  { name: "expert gate and up", format: "mxfp4", in: 2880, out: 5760 },
  { name: "expert gate and up", format: "int8", in: 2880, out: 5760 },
];

/** Read per measurement at one row, so that weights come from memory rather than from a cache. */
const WEIGHT_BYTES = 128 * 1024 * 1024;
/** Beyond this many rows a linear is bound by arithmetic, and one pass over few matrices is enough. */
const MEMORY_BOUND_ROWS = 8;

export interface BenchmarkOptions {
  /** Absent: the best level of this CPU. */
  readonly level?: KernelLevel;
  /** Default: 1 and 2. */
  readonly threads?: readonly number[];
  /** Default: 1, 8, 32, 128, 512. */
  readonly rows?: readonly number[];
}

/** What the machine gives, measured just before the linears. */
export interface MachineLimits {
  readonly threads: number;
  readonly readGbPerSecond: number;
  readonly fmaGflopPerSecond: number;
  /** Products and sums of bf16, and of int8, in the instructions of the level. */
  readonly bf16GflopPerSecond: number;
  readonly int8GopPerSecond: number;
}

export interface LinearResult {
  readonly name: string;
  readonly format: LinearFormat;
  readonly threads: number;
  readonly rows: number;
  readonly microseconds: number;
  /** Of weights, once per call. */
  readonly gbPerSecond: number;
  readonly gflopPerSecond: number;
  /** Shares of the limits; the larger one says what the linear is bound by. */
  readonly ofRead: number;
  /** Of the multiply-adds that the format uses: of f32 for mxfp4, of bf16 for pairs, of int8 for int8. */
  readonly ofArithmetic: number;
}

export interface KernelBenchmark {
  readonly level: KernelLevel;
  readonly limits: readonly MachineLimits[];
  readonly linears: readonly LinearResult[];
}

/** Measures linears of gpt-oss shapes on synthetic weights against this machine's limits; takes about a second per line. */
export async function benchmarkKernels(options: BenchmarkOptions = {}): Promise<KernelBenchmark> {
  const limits: MachineLimits[] = [];
  const linears: LinearResult[] = [];
  let level = options.level;
  for (const threads of options.threads ?? [1, 2]) {
    const kernels = openNative({ threads, ...(level === undefined ? {} : { level }) });
    level = kernels.level;
    try {
      const limit = await measureLimits(kernels, threads);
      limits.push(limit);
      for (const shape of GPT_OSS_LINEARS) {
        for (const rows of options.rows ?? [1, 8, 32, 128, 512])
          linears.push(await measureLinear(kernels, { shape, rows, limit }));
      }
    } finally {
      await kernels.close();
    }
  }
  return { level: level ?? "scalar", limits, linears };
}

type Measuring = Pick<ReturnType<typeof openNative>, "measure">;

async function measureLimits(kernels: Measuring, threads: number): Promise<MachineLimits> {
  const read = await kernels.measure({ kind: "read", bytes: 2 * WEIGHT_BYTES });
  const fma = await kernels.measure({ kind: "fma" });
  const bf16 = await kernels.measure({ kind: "pairs" });
  const int8 = await kernels.measure({ kind: "int8" });
  return {
    threads,
    readGbPerSecond: read.bytes / read.seconds / 1e9,
    fmaGflopPerSecond: fma.flops / fma.seconds / 1e9,
    bf16GflopPerSecond: bf16.flops / bf16.seconds / 1e9,
    int8GopPerSecond: int8.flops / int8.seconds / 1e9,
  };
}

async function measureLinear(
  kernels: Measuring,
  { shape, rows, limit }: { readonly shape: LinearShape; readonly rows: number; readonly limit: MachineLimits },
): Promise<LinearResult> {
  const { name, format } = shape;
  const bytes = shape.in * shape.out * (format === "pairs" ? 2 : 17 / 32);
  const copies = rows <= MEMORY_BOUND_ROWS ? Math.ceil(WEIGHT_BYTES / bytes) : 2;
  const measured = await kernels.measure({ kind: "linear", format, in: shape.in, out: shape.out, rows, copies });
  const gbPerSecond = measured.bytes / measured.seconds / 1e9;
  const gflopPerSecond = measured.flops / measured.seconds / 1e9;
  return {
    name,
    format,
    threads: limit.threads,
    rows,
    microseconds: (measured.seconds / copies) * 1e6,
    gbPerSecond,
    gflopPerSecond,
    ofRead: gbPerSecond / limit.readGbPerSecond,
    ofArithmetic: gflopPerSecond / arithmeticLimit(limit, format),
  };
}

function arithmeticLimit(limit: MachineLimits, format: LinearFormat): number {
  switch (format) {
    case "pairs":
      return limit.bf16GflopPerSecond;
    case "int8":
      return limit.int8GopPerSecond;
    case "mxfp4":
      return limit.fmaGflopPerSecond;
  }
}

/** The benchmark as a table of text. */
export function formatBenchmark({ level, limits, linears }: KernelBenchmark): string {
  const percent = (share: number) => `${(share * 100).toFixed(0)}%`;
  const header = ["linear", "format", "threads", "rows", "us", "GB/s", "of read", "GFLOP/s", "of arithmetic"];
  const lines = linears.map((linear) => [
    linear.name,
    linear.format,
    String(linear.threads),
    String(linear.rows),
    linear.microseconds.toFixed(0),
    linear.gbPerSecond.toFixed(1),
    percent(linear.ofRead),
    linear.gflopPerSecond.toFixed(0),
    percent(linear.ofArithmetic),
  ]);
  const widths = header.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]?.length ?? 0)));
  const row = (cells: readonly string[]) => cells.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  ");
  const machine = limits.map(
    ({ threads, readGbPerSecond, fmaGflopPerSecond, bf16GflopPerSecond, int8GopPerSecond }) =>
      `${threads} thread(s): memory read ${readGbPerSecond.toFixed(1)} GB/s, f32 FMA ${fmaGflopPerSecond.toFixed(0)} GFLOP/s, bf16 ${bf16GflopPerSecond.toFixed(0)} GFLOP/s, int8 ${int8GopPerSecond.toFixed(0)} GOP/s`,
  );
  return [`level ${level}`, ...machine, "", row(header), ...lines.map(row)].join("\n");
}
