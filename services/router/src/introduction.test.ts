import { MAX_EPOCH } from "@moiety/core";
import { ActivationType, type Hello, PlacementState, WorkerKind } from "@moiety/proto";
import { describe, expect, it } from "vitest";
import { Cluster } from "./cluster.js";
import { parseHello } from "./introduction.js";

function hello(epoch: number, routerTerm = 0): Hello {
  const model = {
    fingerprint: "a".repeat(64),
    layers: 1,
    hiddenSize: 64,
    experts: 2,
    expertsPerToken: 1,
    activation: ActivationType.ACTIVATION_TYPE_F32,
    kernelFamily: "cpu",
  };
  const assignments = [{ workerId: "e0", address: "h:1", layers: [{ layer: 0, experts: [0, 1] }] }];
  return {
    workerId: "e1",
    incarnation: "1",
    kind: WorkerKind.WORKER_KIND_EXPERT,
    address: "h:2",
    model,
    capacitySlots: 2,
    placement: { epoch, state: PlacementState.PLACEMENT_STATE_ACTIVE, assignments },
    routerTerm,
  };
}

describe("a worker's Hello", () => {
  it("may not name an epoch after which the router would soon have none left", () => {
    expect(() => parseHello(hello(MAX_EPOCH))).toThrow("hello: placement.epoch must be at most 4026531840");
  });

  it("may not name a term after which there would soon be none left", () => {
    expect(() => parseHello(hello(1, 2 ** 32 - 1))).toThrow("hello: router_term must be at most 4026531840");
  });

  it("with the greatest epoch that is accepted leaves the router room to publish", () => {
    const limits = { maxMembers: 8, heartbeatTimeoutMs: 2_000, rejoinGraceMs: 100 };
    const publishing = { minExpertWorkers: 1, replicas: 1, settleMs: 100, growDelayMs: 100, rejoinGraceMs: 100 };
    const cluster = new Cluster({ limits, publishing, nowMs: 0 });
    const link = { welcome: () => {}, publish: () => {}, drop: () => {} };
    cluster.join(link, parseHello(hello(4_026_531_840)), 0);
    for (let nowMs = 100; nowMs < 2_000; nowMs += 100) cluster.tick(nowMs);
    expect(cluster.publishing.highestEpoch).toBeGreaterThan(4_026_531_840);
  });
});
