import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findProgram } from "../../deploy/test/program.js";
import { CHART, COMPONENT, type Container, Helm, type Manifest } from "./helm.js";
import { NetworkPolicies, type Peer } from "./network-policies.js";
import { FILE } from "./value-sets.js";

const program = findProgram("helm");
const helm = new Helm(program ?? "helm");
/** Who is not of the release. */
const STRANGERS: Readonly<Record<string, Peer>> = {
  "a pod beside it": { labels: { app: "stranger" } },
  "another release": {
    labels: { "app.kubernetes.io/name": "moiety", "app.kubernetes.io/instance": "other", [COMPONENT]: "gateway" },
  },
  "a pod elsewhere": { labels: { app: "stranger" }, namespaceLabels: { team: "strangers" } },
  "a namesake elsewhere": {
    labels: { "app.kubernetes.io/name": "moiety", "app.kubernetes.io/instance": "demo", [COMPONENT]: "attention-worker" },
    namespaceLabels: { team: "strangers" },
  },
  "an address outside": {},
};
const PROMETHEUS: Peer = { labels: { app: "prometheus" }, namespaceLabels: { team: "monitoring" } };
const FROM_PROMETHEUS = [{ namespaceSelector: { matchLabels: { team: "monitoring" } } }];
/** The components of a release that has all. */
const ALL = ["attention-worker", "expert-worker", "gateway", "model-download", "redis-for-trials", "router", "test"];
/** Everything that has a policy, with ports outside that are told apart. */
const EVERYTHING = {
  redisForTrials: { enabled: true },
  model: { source: "download", download: { files: [FILE] } },
  gateway: {
    files: { source: "s3", s3: { url: "https://s3.example.org/files" } },
    config: { MOIETY_JWT_ISSUER: "https://id.example.org", MOIETY_JWT_AUDIENCE: "moiety" },
  },
  monitoring: { tracesUrl: "http://collector.observability:4318" },
  networkPolicy: { metricsFrom: FROM_PROMETHEUS, filesPorts: [9000], tokenIssuerPorts: [8443], downloadPorts: [444, 8000] },
};
const OWN_REDIS = { redisForTrials: { enabled: false }, redis: { secretName: "own" } };
/** What a name in the documentation's column of ports stands for, with the values above. */
const PORTS_OUTSIDE: Readonly<Record<string, readonly number[]>> = {
  "53": [53],
  "networkPolicy.redisPorts": [6379],
  "networkPolicy.filesPorts": [9000],
  "networkPolicy.tokenIssuerPorts": [8443],
  "monitoring.tracesUrl": [4318],
  "networkPolicy.downloadPorts": [444, 8000],
};
const PROBED = [22, 53, 80, 443, 444, 4318, 6379, 6380, 7070, 7071, 8000, 8080, 8081, 8443, 9000];

/** The rows of a table of docs/kubernetes.md under these headings. */
function tableOf(...headings: readonly string[]): readonly (readonly string[])[] {
  const lines = readFileSync(join(CHART, "../../docs/kubernetes.md"), "utf8").split("\n");
  const cellsOf = (line: string) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
  const head = lines.findIndex((line) => cellsOf(line).join() === headings.join());
  if (head < 0) throw new Error(`docs/kubernetes.md has no table of ${headings.join(", ")}`);
  const rest = lines.slice(head + 2);
  return rest
    .slice(
      0,
      rest.findIndex((line) => !line.trim().startsWith("|")),
    )
    .map(cellsOf);
}

/** The pods of a release by component, each with its ports. */
function componentsOf(manifests: readonly Manifest[]): Readonly<Record<string, Peer>> {
  const found = manifests.flatMap((owner) => {
    const pod = owner.kind === "Pod" ? owner : owner.spec?.template;
    if (pod?.spec === undefined) return [];
    const ports = (pod.spec.containers as readonly Container[]).flatMap((container) => container.ports ?? []);
    const labels = pod.metadata.labels as Record<string, string>;
    const named = Object.fromEntries(ports.map(({ name, containerPort }) => [name, containerPort]));
    return [[labels[COMPONENT] ?? "", { labels, ports: named }] as const];
  });
  return Object.fromEntries(found);
}

/** A connection, as `FROM > TO:PORT`. */
const connection = (from: string, to: string, port: number) => `${from} > ${to}:${port}`;

interface Row {
  readonly from: string;
  readonly to: string;
  readonly port: number;
}

describe.runIf(program !== undefined)("the network", { timeout: 120_000 }, () => {
  const rows: readonly Row[] = tableOf("to", "port", "from").flatMap(([to = "", port, from = ""]) =>
    from.split(", ").map((each) => ({ to, port: Number(port), from: each })),
  );
  const rowsOutside: readonly Row[] = tableOf("from", "port", "for").flatMap(([from = "", name = ""]) =>
    from.split(", ").flatMap((each) => {
      const ports = PORTS_OUTSIDE[name];
      if (ports === undefined) throw new Error(`nothing is known of ${name}`);
      return ports.map((port) => ({ from: each, to: "an address outside", port }));
    }),
  );

  /** Compares what the policies of a release let through, each end by itself, with the rows of the documentation that are about it. */
  function expectNetwork(values: readonly object[], isAbout: (row: Row) => boolean = () => true, callers?: readonly string[]) {
    const manifests = helm.manifests(EVERYTHING, ...values);
    const policies = new NetworkPolicies(manifests);
    const components = componentsOf(manifests);
    // The pods of `helm test` have no policy of their own.
    const guarded = Object.entries(components).filter(([name]) => name !== "test");
    const others = Object.entries({ ...components, ...STRANGERS, metricsFrom: PROMETHEUS });
    const exist = ({ from, to }: Row) => [from, to].every((name) => name in components || !ALL.includes(name));
    const documented = rows.filter(isAbout).filter(exist);

    const taken = guarded.flatMap(([to, pod]) =>
      others.flatMap(([from, peer]) =>
        PROBED.filter((port) => policies.takes(pod, port, peer)).map((port) => connection(from, to, port)),
      ),
    );
    const everyone = callers ?? others.map(([name]) => name);
    const toBeTaken = documented.flatMap(({ from, to, port }) =>
      (from === "everyone" ? everyone : [from]).map((each) => connection(each, to, port)),
    );
    expect(taken.sort()).toEqual(toBeTaken.sort());

    // Rules that name a port and no peer hold for pods as well, which listen on no such port.
    const opened = guarded.flatMap(([from, pod]) =>
      Object.entries(components).flatMap(([to, peer]) =>
        Object.values(peer.ports ?? {})
          .filter((port) => policies.opens(pod, port, peer))
          .map((port) => connection(from, to, port)),
      ),
    );
    const toBeOpened = documented.filter(({ from }) => guarded.some(([name]) => name === from));
    expect(opened.sort()).toEqual(toBeOpened.map(({ from, to, port }) => connection(from, to, port)).sort());

    const openedOutside = guarded.flatMap(([from, pod]) =>
      PROBED.filter((port) => policies.opens(pod, port, {})).map((port) => connection(from, "an address outside", port)),
    );
    const toBeOpenedOutside = rowsOutside.filter(isAbout).filter(exist);
    expect(openedOutside.sort()).toEqual(toBeOpenedOutside.map(({ from, to, port }) => connection(from, to, port)).sort());
    return { policies, components };
  }

  const isOwnRedis = ({ port, to }: Row) => to === "an address outside" && port === 6379;

  it("lets through what the documentation says, and nothing else", () => {
    const { components } = expectNetwork([], (row) => !isOwnRedis(row));
    expect(Object.keys(components).sort()).toEqual(ALL);
  });

  it("lets through to a Redis of your own, where you say that it is", () => {
    expectNetwork([OWN_REDIS]);
    const redisTo = [{ namespaceSelector: { matchLabels: { team: "redis" } } }];
    const { policies, components } = expectNetwork([OWN_REDIS, { networkPolicy: { redisTo } }], (row) => !isOwnRedis(row));
    const redis: Peer = { labels: { app: "redis" }, namespaceLabels: { team: "redis" } };
    const may = Object.keys(components).filter((name) => policies.opens(components[name] ?? {}, 6379, redis));
    expect(may.sort()).toEqual(["attention-worker", "gateway", "router", "test"]);
  });

  it("keeps a single router from Redis, and from everything else", () => {
    expectNetwork([{ router: { replicas: 1 } }], (row) => row.from !== "router" && !isOwnRedis(row));
  });

  it("keeps the pods of `helm test` out if they are to call the service alone", () => {
    expectNetwork([{ helmTest: { ports: false } }], (row) => row.from !== "test" && !isOwnRedis(row));
  });

  it("has no gRPC port where experts are co-located", () => {
    expectNetwork([{ colocated: true, expertPools: [] }], (row) => row.port !== 7071 && !isOwnRedis(row));
  });

  it("lets only those to the gateway's API who are named and the pods of `helm test`, and Prometheus to its metrics", () => {
    const gatewayFrom = [{ namespaceSelector: { matchLabels: { team: "clients" } } }];
    const callers = ["test"];
    const { policies, components } = expectNetwork([{ networkPolicy: { gatewayFrom } }], (row) => !isOwnRedis(row), callers);
    const client: Peer = { labels: { app: "client" }, namespaceLabels: { team: "clients" } };
    const taking = Object.keys(components).filter((name) => policies.takes(components[name] ?? {}, 8080, client));
    expect(taking.sort()).toEqual(["gateway", "test"]);
  });

  it("is open where policies are off", () => {
    const manifests = helm.manifests(EVERYTHING, { networkPolicy: { enabled: false } });
    expect(manifests.filter(({ kind }) => kind === "NetworkPolicy")).toEqual([]);
  });
});
