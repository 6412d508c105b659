import type { CheckpointReport, ShardSize } from "./inspect-checkpoint.js";

/** A report as lines of text for a terminal, without colours. */
export function renderReport(report: CheckpointReport): string {
  const { config, kvCache } = report;
  const sliding = config.attention.filter((kind) => kind === "sliding").length;
  const rows: readonly (readonly [string, string])[] = [
    ["model", report.name],
    ["directory", report.directory],
    [
      "format",
      `${report.layout} layout, experts ${report.expertFormat}, ${report.files.length} file${report.files.length === 1 ? "" : "s"}`,
    ],
    ["fingerprint", report.fingerprint],
    ["parameters", `${count(report.parameters.total)}, ${count(report.parameters.active)} active per token`],
    ["layers", `${config.layers} (${sliding} with a window of ${config.slidingWindow}, ${config.layers - sliding} full)`],
    ["experts", `${config.experts} per layer, ${config.expertsPerToken} per token, ${bytes(report.expertBytes)} each`],
    ["widths", `hidden ${config.hiddenSize}, expert ${config.intermediateSize}, vocabulary ${config.vocabSize}`],
    ["heads", `${config.queryHeads} query, ${config.kvHeads} kv, of ${config.headDim}`],
    ["context", `${config.maxContext} tokens`],
    ["tokenizer", tokenizerText(report)],
    ["stop tokens", config.eosTokenIds.length === 0 ? "none" : config.eosTokenIds.join(", ")],
    ["weights", bytes(report.totalBytes)],
    ...Object.entries(report.bytesByRole).map(([role, size]) => [`  ${role}`, bytes(size)] as const),
    ["attention worker", `${bytes(report.attentionWorkerBytes)}, and the KV cache`],
    ...report.shards.map((size) => [`${size.shards} expert worker${size.shards === 1 ? "" : "s"}`, shardText(size)] as const),
    [
      "KV cache (bf16)",
      `${kvCache.fullBytesPerToken} B per token, and up to ${bytes(kvCache.slidingBytesPerSequence)} per sequence`,
    ],
    ...report.warnings.map((warning) => ["warning", warning] as const),
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return `${rows.map(([label, text]) => `${label.padEnd(width)}  ${text}`).join("\n")}\n`;
}

function tokenizerText({ tokenizer }: CheckpointReport): string {
  if (tokenizer === undefined) return "none";
  return `${tokenizer.vocabSize} tokens, ${tokenizer.specialTokens} special`;
}

/** What each worker holds; workers that hold equally many experts are named together. */
function shardText({ experts, bytes: sizes }: ShardSize): string {
  const kinds = [...new Set(experts)].map((held) => {
    const workers = experts.filter((other) => other === held).length;
    return { workers, size: bytes(sizes[experts.indexOf(held)] ?? 0), share: `(${held} experts per layer)` };
  });
  const even = kinds.length === 1;
  return kinds.map(({ workers, size, share }) => (even ? `${size} each ${share}` : `${workers} of ${size} ${share}`)).join(", ");
}

function count(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} B`;
  return value >= 1e6 ? `${(value / 1e6).toFixed(2)} M` : String(value);
}

function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB"] as const;
  let [scaled, unit] = [value, 0];
  while (scaled >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? scaled : scaled.toFixed(2)} ${units[unit] ?? ""}`;
}
