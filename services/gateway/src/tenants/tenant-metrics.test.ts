import { parseTenantId, systemClock } from "@moiety/core";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import type { GenerationTimer } from "../metrics.js";
import { TenantMetrics } from "./tenant-metrics.js";

const silent: GenerationTimer = { admitted: () => {}, tokens: () => {}, end: () => {}, fail: () => {}, over: () => {} };

describe("metrics by tenant", () => {
  it("count tokens and first tokens of each", async () => {
    const registry = new Registry();
    const metrics = new TenantMetrics({ registry, clock: systemClock });
    const [a, b] = [parseTenantId("a"), parseTenantId("b")];
    const timer = metrics.follow(silent, { tenant: a, promptTokens: [3, 4], timed: true });
    timer.admitted();
    for (const count of [0, 2, 5]) timer.tokens(0, count);
    timer.tokens(1, 1);
    metrics.follow(silent, { tenant: b, promptTokens: [1], timed: false }).tokens(0, 9);
    const text = await registry.metrics();
    expect(text).toContain('moiety_tenant_tokens_total{tenant="a",kind="prompt"} 7');
    expect(text).toContain('moiety_tenant_tokens_total{tenant="a",kind="output"} 8');
    expect(text).toContain('moiety_tenant_tokens_total{tenant="b",kind="output"} 9');
    expect(text).toContain('moiety_tenant_time_to_first_token_seconds_count{tenant="a"} 2');
    expect(text).not.toContain('moiety_tenant_time_to_first_token_seconds_count{tenant="b"}');
  });

  it("have a bound on series, whoever comes", async () => {
    const registry = new Registry();
    const metrics = new TenantMetrics({ registry, clock: systemClock });
    for (let index = 0; index < 60; index += 1) metrics.responded(parseTenantId(`tenant-${index}`), 200);
    metrics.responded(parseTenantId("tenant-0"), 200);
    const text = await registry.metrics();
    expect(text.match(/^moiety_tenant_responses_total\{/gm)).toHaveLength(51);
    expect(text).toContain('moiety_tenant_responses_total{tenant="tenant-0",status="200"} 2');
    expect(text).toContain('moiety_tenant_responses_total{tenant="(others)",status="200"} 10');
  });
});
