import type { Benchmark } from "./benchmark.js";

/** Every benchmark, in the order in which they run. The packages that they measure are loaded on demand. */
export const BENCHMARKS: readonly Benchmark[] = [
  {
    name: "kernels",
    summary: "linears of gpt-oss shapes, beside this machine's memory and arithmetic limits",
    run: async (options) => {
      const { benchmarkKernels, formatBenchmark } = await import("@moiety/kernels");
      const figures = await benchmarkKernels(options);
      return { text: formatBenchmark(figures), figures };
    },
  },
];
