import type { Benchmark } from "./benchmark.js";

/** Every benchmark, in the order in which they run. The packages that they measure are loaded on demand. */
export const BENCHMARKS: readonly Benchmark[] = [
  {
    name: "kernels",
    summary: "linears of gpt-oss shapes, beside this machine's memory and arithmetic limits",
    run: async ({ threads, level, quick }) => {
      const { benchmarkKernels, formatBenchmark } = await import("@moiety/kernels");
      const figures = await benchmarkKernels({
        ...(threads === undefined ? {} : { threads }),
        ...(level === undefined ? {} : { level }),
        ...(quick ? { rows: [1, 32] } : {}),
      });
      return { text: formatBenchmark(figures), figures };
    },
  },
  {
    name: "hop",
    summary: "round trip of a call to an expert worker without compute, beside bare TCP",
    run: async (options) => (await import("./hop/hop-benchmark.js")).benchmarkHop(options),
  },
  {
    name: "model",
    summary: "decode and prefill of a model slice, co-located and sharded, beside memory, arithmetic and each other",
    run: async (options) => (await import("./model/model-benchmark.js")).benchmarkModel(options),
  },
  {
    name: "prompt",
    summary: "a chat of 10,000 tokens rendered and tokenised, beside the tokenizer alone",
    run: async (options) => (await import("./prompt/prompt-benchmark.js")).benchmarkPrompt(options),
  },
  {
    name: "step",
    summary: "JavaScript of an engine's step with 64 sequences, beside the same without the token log",
    run: async (options) => (await import("./step/step-benchmark.js")).benchmarkStep(options),
  },
  {
    name: "queue",
    summary: "short requests through the queue, beside BullMQ alone and a PING",
    run: async (options) => (await import("./queue/queue-benchmark.js")).benchmarkQueue(options),
  },
  {
    name: "gateway",
    summary: "streams relayed from a token source to HTTP clients, beside following the token log directly",
    run: async (options) => (await import("./gateway/gateway-benchmark.js")).benchmarkGateway(options),
  },
  {
    name: "guard",
    summary: "ratios of kernels, hop and step to limits of the same moment; fails where one is out of its bounds",
    onlyNamed: true,
    run: async (options) => (await import("./guard/guard-benchmark.js")).benchmarkGuard(options),
  },
  {
    name: "memory",
    summary: "a gateway's memory while it answers very many requests of all kinds",
    run: async (options) => (await import("./memory/memory-benchmark.js")).benchmarkMemory(options),
  },
];
