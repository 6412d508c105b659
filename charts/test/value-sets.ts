import { readdirSync } from "node:fs";
import { parse } from "yaml";
import { CHART } from "./helm.js";
import { PLANS, planned } from "./plans.js";

/** Files of values that the chart brings, without their folder. */
export const EXAMPLES = readdirSync(CHART).filter((name) => /^values-.*\.yaml$/.test(name));

/** What the chart's own defaults lack. */
export const LEAST = { redis: { secretName: "own-redis" } };

/** A file that the chart's job loads. */
export const FILE = { path: "config.json", url: "https://example.org/config.json", sha256: "0".repeat(64) };
/** The set whose pods mount a folder of their node, which Pod Security allows in namespaces that are `privileged` alone. */
export const PRIVILEGED = "a folder of the nodes";

/** What `moiety plan --values` says of some fleets. */
const OF_PLANS: Record<string, readonly object[]> = {};
for (const [name, argv] of Object.entries(PLANS)) OF_PLANS[`a plan of ${name}`] = [LEAST, parse(await planned(...argv))];

/** Values that between them render every template and branch. */
export const VALUE_SETS: Readonly<Record<string, readonly (string | object)[]>> = {
  defaults: [LEAST],
  ...Object.fromEntries(EXAMPLES.map((name) => [name, [name]])),
  ...OF_PLANS,
  "all of it": [
    "values-prod.yaml",
    {
      images: { registry: "registry.example.org/moiety", pullSecrets: [{ name: "pull" }] },
      redis: { caSecretName: "redis-ca" },
      tls: { enabled: true, certManager: { enabled: true, issuerName: "inner" } },
      model: {
        source: "download",
        download: {
          files: [FILE, { ...FILE, path: "model.safetensors", url: "s3://models/model.safetensors" }],
          authorizationSecretName: "hub",
          s3: { endpoint: "https://s3.example.org", secretName: "s3" },
        },
      },
      monitoring: {
        prometheusUrl: "http://prometheus:9090",
        rules: true,
        runbooksUrl: "https://git.example.org/moiety",
        tracesUrl: "http://collector.observability:4318",
      },
      gateway: {
        ingress: { enabled: true, hosts: ["llm.example.org"], tls: [{ hosts: ["llm.example.org"], secretName: "tls" }] },
        files: { source: "s3", s3: { url: "https://s3.example.org/files", secretName: "s3" } },
        adminKey: { secretName: "admin" },
        config: {
          MOIETY_JWT_ISSUER: "https://id.example.org",
          MOIETY_JWT_AUDIENCE: "moiety",
          MOIETY_LIMIT_TOKENS_PER_DAY: 1_000_000,
        },
        autoscaling: { kind: "keda" },
      },
      attention: { autoscaling: { kind: "hpa" } },
      expertDefaults: { autoscaling: { kind: "hpa", minReplicas: 2, maxReplicas: 4 } },
      networkPolicy: { gatewayFrom: [{ namespaceSelector: {} }], redisTo: [{ ipBlock: { cidr: "10.0.0.0/8" } }] },
    },
  ],
  colocated: [{ ...LEAST, colocated: true, expertPools: [], model: { source: "image", image: { reference: "r/m@sha256:0" } } }],
  [PRIVILEGED]: [{ redisForTrials: { enabled: true }, model: { source: "hostPath" } }],
};
