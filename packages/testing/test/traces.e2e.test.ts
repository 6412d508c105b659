import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ClusterHandle, startCluster } from "../src/index.js";
import { type CollectedSpan, type OtlpCollector, startOtlpCollector } from "./otlp-collector.js";

const model = fileURLToPath(new URL("../../cli/models/moiety-tiny", import.meta.url));
const CLIENT_SPAN = "b7ad6b7169203331";
const SAMPLED = "0af7651916cd43dd8448eb211c80319c";
const UNSAMPLED = "1af7651916cd43dd8448eb211c80319c";
const LOST = "2af7651916cd43dd8448eb211c80319c";
const TOGETHER = ["3af7651916cd43dd8448eb211c80319c", "4af7651916cd43dd8448eb211c80319c", "5af7651916cd43dd8448eb211c80319c"];
const SECRET_WORD = "xylophone";
const KEY = "sk-never-to-be-seen";
const KINDS = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };

const everywhere = (env: Readonly<Record<string, string>>) => ({
  gateway: { ...env, MOIETY_API_KEYS: KEY },
  "attention-worker": env,
  "expert-worker": env,
});

async function ask(cluster: ClusterHandle, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const response = await fetch(`${cluster.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${KEY}`, ...headers },
    body: JSON.stringify({
      messages: [{ role: "user", content: `Spell ${SECRET_WORD}` }],
      temperature: 0,
      reasoning_effort: "low",
    }),
  });
  const body = await response.text();
  expect(response.status, body).toBe(200);
  const { choices } = JSON.parse(body) as { readonly choices: readonly { readonly message: { readonly content: string } }[] };
  return choices[0]?.message.content ?? "";
}

/** All spans are there when every process has drained. */
async function drain(cluster: ClusterHandle): Promise<void> {
  for (const group of [cluster.gateways, cluster.attentionWorkers, cluster.expertWorkers]) {
    const exits = await Promise.all(group.map((service) => service.terminate(20_000)));
    expect(exits.map(({ code }) => code)).toEqual(group.map(() => 0));
  }
}

let collector: OtlpCollector;
beforeAll(async () => {
  collector = await startOtlpCollector();
});
afterAll(() => collector.close());

describe("a cluster that traces", () => {
  let spans: readonly CollectedSpan[];
  let answers: readonly string[];

  beforeAll(async () => {
    const tracing = everywhere({ MOIETY_OTLP_ENDPOINT: collector.url, MOIETY_TRACE_RATIO: "0" });
    const cluster = await startCluster({ model, expertWorkers: 2, env: tracing });
    try {
      const unsampled = await ask(cluster, { traceparent: `00-${UNSAMPLED}-${CLIENT_SPAN}-00` });
      const plain = await ask(cluster);
      collector.answerWith(503);
      const lost = await ask(cluster, { traceparent: `00-${LOST}-${CLIENT_SPAN}-01` });
      collector.answerWith(200);
      const sampled = await ask(cluster, { traceparent: `00-${SAMPLED}-${CLIENT_SPAN}-01`, tracestate: "vendor=1" });
      await Promise.all(TOGETHER.map((id) => ask(cluster, { traceparent: `00-${id}-${CLIENT_SPAN}-01` })));
      answers = [unsampled, plain, lost, sampled];
      await drain(cluster);
    } finally {
      await cluster.close();
    }
    spans = collector.spans.filter(({ traceId }) => traceId === SAMPLED);
  }, 120_000);

  const named = (name: string) => spans.filter((span) => span.name === name);
  const only = (name: string): CollectedSpan => {
    expect(named(name)).toHaveLength(1);
    return named(name)[0] as CollectedSpan;
  };
  const parentOf = ({ parentSpanId }: CollectedSpan) => spans.find(({ spanId }) => spanId === parentSpanId);

  it("speaks OTLP", () => {
    expect(collector.faults).toEqual([]);
    expect(new Set(spans.map(({ service }) => service))).toEqual(new Set(["gateway", "attention-worker", "expert-worker"]));
  });

  it("shows a client's request as one trace, down to the call of each expert worker", () => {
    const server = only("POST /v1/chat/completions");
    expect(server).toMatchObject({ parentSpanId: CLIENT_SPAN, kind: KINDS.server, traceState: "vendor=1", service: "gateway" });
    expect(server.attributes).toMatchObject({ "http.route": "/v1/chat/completions", "http.response.status_code": 200 });
    const generate = only("generate");
    expect(generate).toMatchObject({ parentSpanId: server.spanId, kind: KINDS.consumer, service: "attention-worker" });
    for (const phase of ["queue", "prefill", "decode"]) expect(parentOf(only(phase))).toBe(generate);
    for (const part of ["admission", "first token", "further tokens"]) expect(parentOf(only(part))).toBe(server);
    expect(parentOf(only("enqueue"))).toBe(only("admission"));
    for (const step of named("prefill step")) expect(parentOf(step)).toBe(only("prefill"));
    for (const step of named("decode step")) expect(parentOf(step)).toBe(only("decode"));
    const steps = [...named("prefill step"), ...named("decode step")];
    expect(named("prefill step").length).toBeGreaterThan(0);
    expect(named("decode step").length).toBeGreaterThan(0);
    const layers = new Set(named("expert call").map(({ attributes }) => attributes["moiety.layer"]));
    for (const step of steps) {
      const calls = named("expert call").filter(({ parentSpanId }) => parentSpanId === step.spanId);
      expect(new Set(calls.map(({ attributes }) => attributes["moiety.layer"]))).toEqual(layers);
    }
    const computed = named("experts");
    expect(computed).toHaveLength(named("expert call").length);
    expect(new Set(computed.map(({ instance }) => instance))).toEqual(new Set(["expert-worker-0", "expert-worker-1"]));
    for (const span of computed) {
      const call = parentOf(span);
      expect(call).toMatchObject({ name: "expert call", kind: KINDS.client });
      expect(call?.attributes["moiety.worker"]).toBe(span.instance);
      expect(call?.attributes["moiety.layer"]).toBe(span.attributes["moiety.layer"]);
      expect(steps).toContain(call && parentOf(call));
    }
  });

  it("refers steps that were computed together to the one that has their calls", () => {
    const together = collector.spans.filter(({ traceId }) => TOGETHER.includes(traceId));
    const steps = together.filter(({ name }) => name.endsWith(" step"));
    expect(new Set(steps.map(({ traceId }) => traceId))).toEqual(new Set(TOGETHER));
    const hasCalls = ({ spanId }: { readonly spanId: string }) => together.some(({ parentSpanId }) => parentSpanId === spanId);
    for (const step of steps) {
      expect(step.links).toHaveLength(hasCalls(step) ? 0 : 1);
      expect(step.links.every(hasCalls)).toBe(true);
    }
  });

  it("gives spans times that follow one another", () => {
    const begin = (span: CollectedSpan) => BigInt(span.startTimeUnixNano);
    const end = (span: CollectedSpan) => BigInt(span.endTimeUnixNano);
    for (const span of spans) expect(end(span)).toBeGreaterThanOrEqual(begin(span));
    const [queue, prefill, decode] = [only("queue"), only("prefill"), only("decode")];
    expect(end(queue)).toBeLessThanOrEqual(end(prefill));
    expect(begin(decode)).toBeGreaterThanOrEqual(begin(prefill));
  });

  it("exports nothing of requests that are not sampled", () => {
    const traces = new Set(collector.spans.map(({ traceId }) => traceId));
    expect(traces.has(UNSAMPLED)).toBe(false);
    expect([...traces].filter((id) => ![SAMPLED, LOST, ...TOGETHER].includes(id))).toEqual([]);
  });

  it("answers all the same, whatever becomes of the spans", () => {
    expect(answers[0]).not.toBe("");
    expect(answers).toEqual(answers.map(() => answers[0]));
  });

  it("puts no word of a prompt or an answer and no key into a span", () => {
    for (const word of [SECRET_WORD, KEY, "Spell", ...(answers[0] ?? "").split(/\s+/).filter((part) => part.length > 4)]) {
      expect(collector.text).not.toContain(word);
    }
  });
});

describe("a cluster that was told no collector", () => {
  it("exports nothing, whatever clients and OpenTelemetry's variables say", async () => {
    const before = collector.requests;
    const variables = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER: "always_on" };
    const cluster = await startCluster({ model, colocated: true, env: everywhere(variables) });
    try {
      expect(await ask(cluster, { traceparent: `00-${SAMPLED}-${CLIENT_SPAN}-01` })).not.toBe("");
      await drain(cluster);
    } finally {
      await cluster.close();
    }
    expect(collector.requests).toBe(before);
  }, 60_000);
});
