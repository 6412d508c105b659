import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import { z } from "zod";

/** The JSON of `ExportTraceServiceRequest` as OTLP lays it down: hexadecimal ids, times as text, enums as numbers, nothing unknown. */
const nanos = z.string().regex(/^\d{18,20}$/);
const traceId = z.string().regex(/^(?!0+$)[0-9a-f]{32}$/);
const spanId = z.string().regex(/^(?!0+$)[0-9a-f]{16}$/);
const count = z.number().int().min(0);
const value = z.union([
  z.strictObject({ stringValue: z.string() }),
  z.strictObject({ intValue: z.number().int() }),
  z.strictObject({ doubleValue: z.number() }),
  z.strictObject({ boolValue: z.boolean() }),
  z.strictObject({ arrayValue: z.unknown() }),
]);
const attributes = z
  .array(z.strictObject({ key: z.string().min(1), value }))
  .transform((list) => Object.fromEntries(list.map((each) => [each.key, Object.values(each.value)[0] as unknown])));
const link = z.strictObject({
  traceId,
  spanId,
  traceState: z.string().optional(),
  attributes,
  droppedAttributesCount: count,
  flags: count,
});
const span = z.strictObject({
  traceId,
  spanId,
  parentSpanId: spanId.optional(),
  traceState: z.string().optional(),
  name: z.string().min(1),
  kind: z.number().int().min(1).max(5),
  startTimeUnixNano: nanos,
  endTimeUnixNano: nanos,
  attributes,
  droppedAttributesCount: z.literal(0),
  events: z.array(z.unknown()),
  droppedEventsCount: z.literal(0),
  status: z.strictObject({ code: z.number().int().min(0).max(2), message: z.string().optional() }),
  links: z.array(link),
  droppedLinksCount: z.literal(0),
  flags: count,
});
const exportRequest = z.strictObject({
  resourceSpans: z.array(
    z.strictObject({
      resource: z.strictObject({ attributes, droppedAttributesCount: count, entityRefs: z.unknown().optional() }),
      scopeSpans: z.array(
        z.strictObject({
          scope: z.strictObject({ name: z.string(), version: z.string().optional() }),
          spans: z.array(span),
          schemaUrl: z.string().optional(),
        }),
      ),
      schemaUrl: z.string().optional(),
    }),
  ),
});

export interface CollectedSpan extends z.output<typeof span> {
  readonly service: unknown;
  readonly instance: unknown;
}

export interface OtlpCollector {
  readonly url: string;
  readonly spans: readonly CollectedSpan[];
  /** Bodies as they came, joined. */
  readonly text: string;
  /** What was not an export of spans. */
  readonly faults: readonly string[];
  readonly requests: number;
  /** Status with which exports are answered from now on. */
  answerWith(status: number): void;
  close(): Promise<void>;
}

/** Takes exports of spans over HTTP, and checks that they are what the protocol says. */
export async function startOtlpCollector(): Promise<OtlpCollector> {
  const spans: CollectedSpan[] = [];
  const bodies: string[] = [];
  const faults: string[] = [];
  let requests = 0;
  let status = 200;
  const take = (body: string) => {
    for (const { resource, scopeSpans } of exportRequest.parse(JSON.parse(body)).resourceSpans) {
      const { "service.name": service, "service.instance.id": instance } = resource.attributes;
      for (const each of scopeSpans) for (const taken of each.spans) spans.push({ ...taken, service, instance });
    }
  };
  const server = createServer(async (request, response) => {
    requests += 1;
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const raw = Buffer.concat(parts);
    const body = (request.headers["content-encoding"] === "gzip" ? gunzipSync(raw) : raw).toString("utf8");
    bodies.push(body);
    const { method, url, headers } = request;
    if (method !== "POST" || url !== "/v1/traces" || headers["content-type"] !== "application/json") {
      faults.push(`${method} ${url} of ${headers["content-type"]}`);
    }
    try {
      if (status === 200) take(body);
    } catch (error) {
      faults.push(String(error));
    }
    response.writeHead(status, { "content-type": "application/json" }).end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    faults,
    get text() {
      return bodies.join("\n");
    },
    get requests() {
      return requests;
    },
    answerWith: (next) => {
      status = next;
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
