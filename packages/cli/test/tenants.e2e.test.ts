import { fileURLToPath } from "node:url";
import { type ClusterHandle, startCluster, waitUntil } from "@moiety/testing";
import { afterAll, beforeAll, expect, it } from "vitest";

/** Tenants beside each other, in a cluster of processes with the default model. */

const ADMIN_KEY = "admin-key-of-the-test";
const model = fileURLToPath(new URL("../models/moiety-tiny", import.meta.url));

let cluster: ClusterHandle;
beforeAll(async () => {
  cluster = await startCluster({
    model,
    gateways: 2,
    activation: "bf16",
    env: {
      gateway: { MOIETY_ADMIN_KEY: ADMIN_KEY, MOIETY_API_KEYS: "calm:key-of-calm,loud:key-of-loud" },
      "attention-worker": { MOIETY_MAX_SEQUENCES: "4", MOIETY_STEP_TOKENS: "128" },
    },
  });
}, 120_000);
afterAll(() => cluster?.close());

const urlOf = (index: number) => cluster.gateways[index % 2]?.httpUrl ?? "";

function post(url: string, key: string, body: object): Promise<Response> {
  const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
  return fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
}

const complete = (tenant: string, index: number, max_tokens: number) =>
  post(`${urlOf(index)}/v1/completions`, `key-of-${tenant}`, {
    prompt: `${index}: on and on`,
    max_tokens,
    seed: index,
    ignore_eos: true,
  });

async function textOf(response: Response): Promise<string> {
  const body = (await response.json()) as { readonly choices?: readonly { readonly text: string }[] };
  return body.choices?.[0]?.text ?? `status ${response.status}: ${JSON.stringify(body)}`;
}

async function limitLoud(limits: object): Promise<void> {
  const answers = await Promise.all([post(`${urlOf(0)}/admin/v1/tenants/loud`, ADMIN_KEY, { limits })]);
  expect(answers.map(({ status }) => status)).toEqual([200]);
  // Another gateway knows within a second.
  await new Promise((resolve) => setTimeout(resolve, 1_100));
}

const idle = () =>
  waitUntil("nothing waits or runs", async () => {
    const text = (await cluster.gateways[0]?.metrics()) ?? "";
    const counts = [...text.matchAll(/^moiety_queue_requests\{.*\} (\d+)$/gm)].map(([, count]) => Number(count));
    return counts.length === 2 && counts.every((count) => count === 0);
  });

it("a tenant over its limit gets 429 with the right headers, and another every answer that it gets alone", async () => {
  const calm = () => Promise.all(Array.from({ length: 16 }, async (_, index) => textOf(await complete("calm", index, 16))));
  const alone = await calm();
  expect(alone.filter((text) => text.startsWith("status"))).toEqual([]);
  await limitLoud({ requests_per_minute: 6, concurrent_requests: 2, tokens_per_minute: 1_000_000 });
  const loud = Array.from({ length: 60 }, (_, index) => complete("loud", index, 40));
  const beside = await calm();
  expect(beside).toEqual(alone);
  const answers = await Promise.all(loud);
  const served = answers.filter(({ status }) => status === 200);
  const refused = answers.filter(({ status }) => status === 429);
  expect(served.length + refused.length).toBe(60);
  expect(served.length).toBeGreaterThanOrEqual(2);
  // What comes back within the time that this may take at worst is little.
  expect(served.length).toBeLessThanOrEqual(6 + 12);
  for (const response of refused) {
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(response.headers.get("x-ratelimit-limit-requests")).toBe("6");
    expect(response.headers.get("x-ratelimit-remaining-requests")).toMatch(/^[0-6]$/);
    expect(response.headers.get("x-ratelimit-reset-requests")).toMatch(/^[\dhms.]+$/);
    expect(response.headers.get("x-ratelimit-limit-tokens")).toBe("1000000");
    const { error } = (await response.json()) as { readonly error: { readonly code: string } };
    expect(error.code).toBe("rate_limit_exceeded");
  }
  await limitLoud({ requests_per_minute: null, concurrent_requests: null, tokens_per_minute: null });
}, 120_000);

it("round-robin let long prompts starve others: a short request passes a hundred long ones of another tenant", async () => {
  await idle();
  const order: string[] = [];
  const ask = async (tenant: string, index: number, tokens: number) => {
    const response = await complete(tenant, index, tokens);
    await response.arrayBuffer();
    expect(response.status).toBe(200);
    order.push(tenant);
  };
  const long = Array.from({ length: 100 }, (_, index) => ask("loud", index, 16));
  await waitUntil("the long ones wait", async () => {
    const text = (await cluster.gateways[0]?.metrics()) ?? "";
    return Number(/moiety_queue_tenant_requests\{.*tenant="loud".*\} (\d+)/.exec(text)?.[1] ?? 0) > 60;
  });
  await ask("calm", 0, 4);
  const before = order.length - 1;
  await Promise.all(long);
  // First come, first served, it would have been the last of all.
  expect(100 - before).toBeGreaterThan(30);
  expect(order).toHaveLength(101);
}, 180_000);
