import type { Manifest } from "./helm.js";

/** One end of a connection. */
export interface Peer {
  /** Absent: no pod. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Labels of its namespace; absent: it is in the release's. */
  readonly namespaceLabels?: Readonly<Record<string, string>>;
  /** Names of its container's ports. */
  readonly ports?: Readonly<Record<string, number>>;
}

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
}

interface PolicyPeer {
  readonly podSelector?: Selector;
  readonly namespaceSelector?: Selector;
  readonly ipBlock?: { readonly cidr: string };
}

interface PolicyPort {
  readonly protocol?: string;
  readonly port?: number | string;
}

interface Rule {
  readonly from?: readonly PolicyPeer[];
  readonly to?: readonly PolicyPeer[];
  readonly ports?: readonly PolicyPort[];
}

type Direction = "Ingress" | "Egress";

/** What Kubernetes does with the policies of one namespace, as far as the chart uses them; anything else throws. Addresses of blocks are outside of the cluster. */
export class NetworkPolicies {
  readonly #policies: readonly Manifest[];

  constructor(manifests: readonly Manifest[]) {
    this.#policies = manifests.filter(({ kind }) => kind === "NetworkPolicy");
  }

  /** Whether a pod takes TCP connections on a port from a peer. */
  takes(pod: Peer, port: number, from: Peer): boolean {
    return this.#allows("Ingress", pod, (rule) => matchesPeer(rule.from, from) && matchesPort(rule.ports, port, pod));
  }

  /** Whether a pod may open TCP connections to a port of a peer. */
  opens(pod: Peer, port: number, to: Peer): boolean {
    return this.#allows("Egress", pod, (rule) => matchesPeer(rule.to, to) && matchesPort(rule.ports, port, to));
  }

  /** Rules add up; a pod that no policy selects is free. */
  #allows(direction: Direction, pod: Peer, matches: (rule: Rule) => boolean): boolean {
    const about = this.#policies.filter(({ spec }) => {
      onlyKeys(spec, ["podSelector", "policyTypes", "ingress", "egress"]);
      return spec.policyTypes.includes(direction) && matchesSelector(spec.podSelector, pod.labels);
    });
    if (about.length === 0) return true;
    const rules = about.flatMap(({ spec }) => (direction === "Ingress" ? spec.ingress : spec.egress) ?? []) as readonly Rule[];
    for (const rule of rules) onlyKeys(rule, [direction === "Ingress" ? "from" : "to", "ports"]);
    return rules.some(matches);
  }
}

function matchesPeer(peers: readonly PolicyPeer[] | undefined, peer: Peer): boolean {
  // No peers at all are all peers.
  if (peers === undefined || peers.length === 0) return true;
  return peers.some((each) => {
    onlyKeys(each, ["podSelector", "namespaceSelector", "ipBlock"]);
    if (each.ipBlock !== undefined) return peer.labels === undefined;
    if (peer.labels === undefined) return false;
    const isInNamespace =
      each.namespaceSelector === undefined
        ? peer.namespaceLabels === undefined
        : matchesSelector(each.namespaceSelector, peer.namespaceLabels ?? {});
    return isInNamespace && (each.podSelector === undefined || matchesSelector(each.podSelector, peer.labels));
  });
}

/** A name is that of the container's port at the end that takes the connection. */
function matchesPort(ports: readonly PolicyPort[] | undefined, port: number, taker: Peer): boolean {
  if (ports === undefined || ports.length === 0) return true;
  return ports.some((each) => {
    onlyKeys(each, ["protocol", "port"]);
    if ((each.protocol ?? "TCP") !== "TCP") return false;
    if (each.port === undefined) return true;
    return port === (typeof each.port === "number" ? each.port : taker.ports?.[each.port]);
  });
}

function matchesSelector(selector: Selector, labels: Readonly<Record<string, string>> | undefined): boolean {
  onlyKeys(selector, ["matchLabels"]);
  return labels !== undefined && Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
}

function onlyKeys(given: object, known: readonly string[]): void {
  for (const key of Object.keys(given))
    if (!known.includes(key)) throw new Error(`what ${key} of a policy means is not known here`);
}
