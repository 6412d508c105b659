import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { parseConfig } from "../config.js";
import { createLogger } from "../logger.js";
import { packContext, unpackContext } from "./packed-context.js";
import { openTracing, samplingConfigShape, type Tracing, tracingConfigShape, untraced } from "./tracing.js";

const CLIENT = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
const UNSAMPLED = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00" };
/** Nobody listens there. */
const NOWHERE = "http://127.0.0.1:1";

function open(ratio: number, registry = new Registry()): Promise<Tracing> {
  const logger = createLogger({ service: "test", instance: "test", level: "silent" });
  const config = { MOIETY_OTLP_ENDPOINT: NOWHERE, MOIETY_TRACE_RATIO: ratio };
  return openTracing({ config, service: "test", instance: "test", logger, registry });
}

async function spans(registry: Registry): Promise<Record<string, number>> {
  const metric = await registry.getSingleMetric("moiety_trace_spans_total")?.get();
  return Object.fromEntries((metric?.values ?? []).map(({ labels, value }) => [labels["outcome"], value]));
}

describe("tracing", () => {
  it("is off without a collector, and has no metric then", async () => {
    const registry = new Registry();
    const logger = createLogger({ service: "test", instance: "test", level: "silent" });
    const tracing = await openTracing({ config: {}, service: "test", instance: "test", logger, registry });
    expect(tracing).toBe(untraced);
    expect(tracing.begin("GET /", CLIENT)).toBeUndefined();
    expect(tracing.resume(CLIENT.traceparent, "step")).toBeUndefined();
    expect(registry.getMetricsAsArray()).toEqual([]);
  });

  it("does as the client has decided, and otherwise by the ratio", async () => {
    const [none, all] = [await open(0), await open(1)];
    expect(none.begin("GET /", CLIENT)?.traceId).toBe(CLIENT.traceparent.slice(3, 35));
    expect(none.begin("GET /", {})).toBeUndefined();
    expect(all.begin("GET /", UNSAMPLED)).toBeUndefined();
    expect(all.begin("GET /", {})).toBeDefined();
    expect(all.begin("GET /", { traceparent: "no such thing" })).toBeDefined();
    await Promise.all([none.close(), all.close()]);
  });

  it("does as the ratio says where clients are not to decide, but goes on with their traces", async () => {
    const options = {
      service: "test",
      instance: "test",
      logger: createLogger({ service: "test", instance: "test", level: "silent" }),
    };
    const open = (MOIETY_TRACE_RATIO: number) =>
      openTracing({
        ...options,
        registry: new Registry(),
        config: { MOIETY_OTLP_ENDPOINT: NOWHERE, MOIETY_TRACE_RATIO, MOIETY_TRACE_CLIENTS_DECIDE: false },
      });
    const [none, all] = [await open(0), await open(1)];
    expect(none.begin("GET /", CLIENT)).toBeUndefined();
    expect(all.begin("GET /", CLIENT)?.traceId).toBe(CLIENT.traceparent.slice(3, 35));
    expect(all.begin("GET /", UNSAMPLED)).toBeUndefined();
    await Promise.all([none.close(), all.close()]);
  });

  it("goes on with what another process wrote, as text or packed, and with nothing else", async () => {
    const tracing = await open(0);
    const span = tracing.begin("GET /", CLIENT);
    for (const context of [span?.traceparent, span?.pack()]) {
      expect(tracing.resume(context, "step")?.traceId).toBe(span?.traceId);
    }
    const faulty = [
      undefined,
      "",
      "garbage",
      UNSAMPLED.traceparent,
      new Uint8Array(),
      new Uint8Array(25),
      new Uint8Array(24).fill(1),
    ];
    for (const context of faulty) expect(tracing.resume(context, "step")).toBeUndefined();
    await tracing.close();
  });

  it("packs a context into 25 bytes and back", () => {
    const context = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
    expect(packContext(context)).toHaveLength(25);
    expect(unpackContext(packContext(context))).toEqual({ ...context, isRemote: true });
  });

  it("drops what a collector does not take, beyond its bound, and counts it", async () => {
    const registry = new Registry();
    const tracing = await open(1, registry);
    for (let index = 0; index < 10_000; index += 1) tracing.begin("GET /", {})?.end();
    await tracing.close();
    const { ended, failed = 0, exported = 0 } = await spans(registry);
    expect(ended).toBe(10_000);
    expect(exported).toBe(0);
    expect(failed).toBeLessThanOrEqual(8_192);
  });

  it("closes in time though the collector says nothing, and may be asked for spans still", async () => {
    const tracing = await open(1);
    tracing.begin("GET /", {})?.end();
    await tracing.close();
    const late = tracing.begin("GET /", {});
    late?.child("step").end();
    late?.end();
  });

  it("names the variable that is wrong", () => {
    const schema = z.object({ ...tracingConfigShape, ...samplingConfigShape });
    expect(() => parseConfig(schema, { MOIETY_OTLP_ENDPOINT: "collector:4317" })).toThrow(/MOIETY_OTLP_ENDPOINT: expected a URL/);
    for (const MOIETY_TRACE_RATIO of ["1.1", "-1", "all"]) {
      expect(() => parseConfig(schema, { MOIETY_TRACE_RATIO })).toThrow(/MOIETY_TRACE_RATIO: /);
    }
    expect(parseConfig(schema, { MOIETY_TRACE_RATIO: ".5" })).toMatchObject({ MOIETY_TRACE_RATIO: 0.5 });
  });
});
