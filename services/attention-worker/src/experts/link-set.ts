import type { PlacedWorker, WorkerId } from "@moiety/core";
import { Link, type LinkOptions } from "./link.js";

/** One link for each worker that a placement names. */
export class LinkSet {
  readonly #base: Omit<LinkOptions, "workerId" | "address">;
  readonly #retireMs: number;
  readonly #closing = new AbortController();
  readonly #links = new Map<WorkerId, Link>();
  readonly #retired = new Set<Link>();

  constructor(base: Omit<LinkOptions, "workerId" | "address">, retireMs: number) {
    this.#base = base;
    this.#retireMs = retireMs;
  }

  /** Opens links to the workers that have none, and lets go of the others after their calls had time to end. */
  want(workers: readonly PlacedWorker[]): void {
    const addresses = new Map(workers.map(({ id, address }) => [id, address]));
    for (const [id, link] of this.#links) {
      if (addresses.get(id) === link.address) continue;
      this.#links.delete(id);
      this.#retire(link);
    }
    for (const [id, address] of addresses) {
      if (!this.#links.has(id)) this.#links.set(id, new Link({ ...this.#base, workerId: id, address }));
    }
  }

  /** The link to a worker, when calls can be sent on it. */
  live(id: WorkerId): Link | undefined {
    const link = this.#links.get(id);
    return link?.up ? link : undefined;
  }

  /** Why links are not up, one line each. */
  faults(): string[] {
    return [...this.#links.values()].flatMap(({ workerId, address, state }) =>
      state.kind === "waiting" ? [`expert worker ${workerId} at ${address}: ${state.reason}`] : [],
    );
  }

  close(): void {
    this.#closing.abort();
    for (const link of [...this.#links.values(), ...this.#retired]) link.close();
    this.#links.clear();
    this.#retired.clear();
  }

  #retire(link: Link): void {
    this.#retired.add(link);
    const end = () => {
      link.close();
      this.#retired.delete(link);
    };
    const graceMs = link.outstandingRows === 0 ? 0 : this.#retireMs;
    this.#base.clock.sleep(graceMs, this.#closing.signal).then(end, () => {});
  }
}
