import { formatTable, percent, short } from "../table.js";
import type { GatewayFigures } from "./gateway-benchmark.js";
import type { PhaseFigures } from "./phase.js";

/** The figures for people. */
export function formatGateway({ streams, pinned, paced, loaded, flatOut, flatOutDirect, ratio }: GatewayFigures): string {
  const phases = [
    [everyMs(paced), paced, "-"],
    [everyMs(loaded), loaded, "-"],
    ["flat out", flatOut, `${short(ratio)}x`],
    ["flat out, log followed directly", flatOutDirect, "1.00x"],
  ] as const;
  const faults = [...new Set(phases.flatMap(([, { faults }]) => faults))];
  return [
    `${streams} streams at once; Redis, gateway, source and clients share this machine${pinned ? ", the gateway alone on one core of it" : ""}; flat out, all are opened at the same moment.`,
    formatTable(
      ["phase", "tokens", "tokens/s", "source's", "of source", "of direct", "per chunk", "errors"],
      phases.map(([name, figures, ofDirect]) => [name, ...throughputCells(figures, ofDirect)]),
    ),
    "",
    formatTable(
      ["CPU, cores", "gateway", "Redis", "source", "clients", "tokens per gateway CPU second"],
      phases.map(([name, { cpu, tokensPerGatewayCpuSecond }], index) => [
        name,
        ...[cpu.seconds.gateway, cpu.seconds.redis, cpu.seconds.source, cpu.seconds.clients].map((seconds) =>
          ((seconds * 1_000) / cpu.ms).toFixed(2),
        ),
        index < 3 ? tokensPerGatewayCpuSecond.toFixed(0) : "-",
      ]),
    ),
    "",
    formatTable(
      ["ms, median and p99", everyMs(paced), "", everyMs(loaded), ""],
      (
        [
          ["added to the first token", "addedToFirstToken"],
          ["of it, request to claim", "requestToClaim"],
          ["append to client", "appendToClient"],
          ["gap at the source", "sourceGap"],
          ["gap at the client", "clientGap"],
          ["added to a gap", "addedToGap"],
        ] as const
      ).map(([name, field]) => [
        name,
        ...[paced, loaded].flatMap(({ [field]: spread }) => [spread.median.toFixed(2), spread.p99.toFixed(2)]),
      ]),
    ),
    ...(faults.length === 0 ? [] : ["", `faults: ${faults.join("; ")}`]),
  ].join("\n");
}

const everyMs = ({ intervalMs }: PhaseFigures) => `a token per ${short(intervalMs)} ms`;

function throughputCells(figures: PhaseFigures, ofDirect: string): string[] {
  const { streams, tokensPerStream, tokensPerSecond, sourceTokensPerSecond, tokensPerChunk, errors } = figures;
  return [
    String(streams * tokensPerStream),
    tokensPerSecond.toFixed(0),
    sourceTokensPerSecond.toFixed(0),
    percent(tokensPerSecond / sourceTokensPerSecond),
    ofDirect,
    tokensPerChunk.toFixed(2),
    String(errors),
  ];
}
