import type { TraceSpan, Tracing } from "@moiety/runtime";
import type { FastifyInstance, FastifyRequest } from "fastify";

/** The span of a request; absent: it is not sampled. */
export type SpanOf = (request: FastifyRequest) => TraceSpan | undefined;

/** Spans of the requests that `isTraced`. To be added behind authentication: who has no key costs no span. */
export function addRequestSpans(
  app: FastifyInstance,
  { tracing, isTraced }: { readonly tracing: Tracing; readonly isTraced: (request: FastifyRequest) => boolean },
): SpanOf {
  if (!tracing.isOn) return () => undefined;
  const spans = new WeakMap<FastifyRequest, TraceSpan>();
  app.addHook("onRequest", async (request, reply) => {
    if (!isTraced(request)) return;
    const { method } = request;
    const route = request.routeOptions.url ?? "none";
    const attributes = { "http.request.method": method, "http.route": route, "moiety.request_id": request.id };
    const span = tracing.begin(`${method} ${route}`, request.headers, { kind: "server", attributes });
    if (span === undefined) return;
    spans.set(request, span);
    reply.raw.once("close", () => {
      const { statusCode, writableFinished } = reply.raw;
      span.set({ "http.response.status_code": statusCode });
      if (!writableFinished) span.fail("CANCELLED");
      else if (statusCode >= 500) span.fail(String(statusCode));
      span.end();
    });
  });
  return (request) => spans.get(request);
}
