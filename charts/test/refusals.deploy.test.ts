import { describe, expect, it } from "vitest";
import { findProgram } from "../../deploy/test/program.js";
import { Helm, TEMPLATE } from "./helm.js";
import { FILE, LEAST } from "./value-sets.js";

const program = findProgram("helm");
const helm = new Helm(program ?? "helm");
const SLOTS = { model: { expertSlots: 768 } };
const twoCopies = { router: { config: { MOIETY_REPLICAS: 2 } } };

const outcomeOf = (...values: readonly object[]) => helm.run(TEMPLATE, LEAST, ...values);

describe.runIf(program !== undefined)("a value that cannot be meant", { timeout: 120_000 }, () => {
  it.each<[string, readonly object[], RegExp]>([
    [
      "a variable of the gateway misspelt",
      [{ gateway: { config: { MOIETY_LIMIT_TOKENS_PER_DAI: 1 } } }],
      /gateway\/config.*_DAI/,
    ],
    ["one of the router", [{ router: { config: { MOIETY_REPLICA: 2 } } }], /router\/config.*MOIETY_REPLICA'/],
    ["one of attention workers", [{ attention: { config: { MOIETY_KV_TOKEN: 2 } } }], /attention\/config.*MOIETY_KV_TOKEN'/],
    ["one of all pools", [{ expertDefaults: { config: { MOIETY_X: 2 } } }], /expertDefaults\/config.*MOIETY_X'/],
    ["one of a pool", [{ expertPools: [{ name: "a", config: { MOIETY_X: 2 } }] }], /expertPools\/0\/config.*MOIETY_X'/],
    [
      "a variable of another service",
      [{ gateway: { config: { MOIETY_KV_TOKENS: 4096 } } }],
      /gateway\/config.*MOIETY_KV_TOKENS'/,
    ],
    ["what the chart sets", [{ expertDefaults: { config: { MOIETY_CAPACITY_SLOTS: 4 } } }], /MOIETY_CAPACITY_SLOTS/],
    [
      "files of a download that is not asked for",
      [{ model: { download: { files: [FILE] } } }],
      /source is persistentVolumeClaim/,
    ],
    ["more copies than workers", [{ router: { config: { MOIETY_REPLICAS: 3 } } }], /MOIETY_REPLICAS is 3.* 2 workers/],
    [
      "room for less than every expert",
      [SLOTS, { expertPools: [{ name: "a", capacitySlots: 383 }] }],
      /room for 766 .* need 768: model\.expertSlots, 768, times MOIETY_REPLICAS, 1/,
    ],
    [
      "room for less than every copy",
      [
        SLOTS,
        twoCopies,
        {
          expertPools: [
            { name: "a", replicas: 1 },
            { name: "b", capacitySlots: 383 },
          ],
        },
      ],
      /room for 1534 .* need 1536/,
    ],
    [
      "room that nobody can use: more than the model has",
      [
        SLOTS,
        twoCopies,
        {
          expertPools: [
            { name: "a", replicas: 1, capacitySlots: 4000 },
            { name: "b", capacitySlots: 100 },
          ],
        },
      ],
      /room for 968 .* need 1536/,
    ],
    [
      "room that a pool has at its greatest alone",
      [SLOTS, { expertPools: [{ name: "a", capacitySlots: 384, autoscaling: { kind: "hpa", minReplicas: 1 } }] }],
      /room for 384 .* need 768/,
    ],
    ["a pool's autoscaling misspelt", [{ expertPools: [{ name: "a", autoscaling: { enabled: true } }] }], /autoscaling.*enabled/],
  ])("is refused with a message: %s", (_, values, message) => {
    const { status, stderr } = outcomeOf(...values);
    expect(stderr).toMatch(message);
    expect(status).not.toBe(0);
  });

  it.each<[string, readonly object[]]>([
    [
      "just enough room",
      [
        SLOTS,
        twoCopies,
        {
          expertPools: [
            { name: "a", replicas: 1 },
            { name: "b", capacitySlots: 384 },
          ],
        },
      ],
    ],
    ["little room for a model of unknown size", [{ expertPools: [{ name: "a", capacitySlots: 1 }] }]],
    ["no workers at all, for a while", [SLOTS, twoCopies, { expertDefaults: { replicas: 0 } }]],
    ["co-located experts", [SLOTS, { colocated: true, expertPools: [] }]],
    ["files of a download", [{ model: { source: "download", download: { files: [FILE] } } }]],
  ])("is not: %s", (_, values) => {
    const { status, stderr } = outcomeOf(...values);
    expect([status, stderr]).toEqual([0, ""]);
  });
});
