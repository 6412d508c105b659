// Prints a table and a line of JSON: node packages/kernels/bench/kernels.mjs [level]
// Needs the built addon (make) and the built package (tsc -b).
import { benchmarkKernels, formatBenchmark } from "../dist/index.js";

const level = process.argv[2];
const benchmark = await benchmarkKernels(level === undefined ? {} : { level });
process.stdout.write(`${formatBenchmark(benchmark)}\n\n${JSON.stringify(benchmark)}\n`);
