import { parseConfig } from "@moiety/runtime";
import { describe, expect, it } from "vitest";
import { routerConfigSchema } from "./config.js";

describe("the router's configuration", () => {
  it("needs nothing", () => {
    expect(parseConfig(routerConfigSchema, {})).toMatchObject({
      MOIETY_LISTEN_ADDRESS: "127.0.0.1:7070",
      MOIETY_MIN_EXPERT_WORKERS: 1,
      MOIETY_REPLICAS: 1,
      MOIETY_SETTLE_MS: 1_500,
      MOIETY_REJOIN_GRACE_MS: 3_000,
      MOIETY_HEARTBEAT_INTERVAL_MS: 500,
      MOIETY_HEARTBEAT_TIMEOUT_MS: 2_000,
    });
  });

  it("does not take one missed heartbeat for a death", () => {
    const environment = { MOIETY_HEARTBEAT_INTERVAL_MS: "1000", MOIETY_HEARTBEAT_TIMEOUT_MS: "1500" };
    expect(() => parseConfig(routerConfigSchema, environment)).toThrow(/MOIETY_HEARTBEAT_TIMEOUT_MS: must be at least twice/);
  });

  it.each([
    ["a lease without a Redis", { MOIETY_ROUTER_LEASE_MS: "1500" }, /MOIETY_REDIS_URL: is required/],
    [
      "a lease that is too short to be renewed",
      { MOIETY_ROUTER_LEASE_MS: "100", MOIETY_REDIS_URL: "redis://redis:6379" },
      /MOIETY_ROUTER_LEASE_MS: must be 0, or at least 400/,
    ],
  ])("refuses %s", (_name, environment, message) => {
    expect(() => parseConfig(routerConfigSchema, environment)).toThrow(message);
  });
});
