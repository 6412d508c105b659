import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/**
 * A Service with an address of its own: each new connection goes to the next of its ready pods, and stays there whatever becomes of
 * the pod's readiness.
 */
export class ServiceProxy {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #next = 0;

  private constructor(endpoints: () => readonly string[], port: number) {
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      const ready = endpoints();
      const host = ready[this.#next % Math.max(1, ready.length)];
      this.#next += 1;
      // Without an endpoint a Service refuses; a connection that is there already can only be reset.
      if (host === undefined) client.resetAndDestroy();
      else this.#join(client, connect({ host, port, allowHalfOpen: true }));
    });
  }

  /** `endpoints` gives the addresses of the pods that are ready now. */
  static async start(options: {
    readonly ip: string;
    readonly port: number;
    readonly targetPort: number;
    readonly endpoints: () => readonly string[];
  }): Promise<ServiceProxy> {
    const proxy = new ServiceProxy(options.endpoints, options.targetPort);
    proxy.#server.listen(options.port, options.ip);
    await once(proxy.#server, "listening");
    return proxy;
  }

  get url(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `http://${address}:${port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(client: Socket, pod: Socket): void {
    for (const [from, to] of [
      [client, pod],
      [pod, client],
    ] as const) {
      this.#open.add(from);
      from.setNoDelay(true);
      from.pipe(to);
      from.once("error", () => to.resetAndDestroy());
      from.once("close", () => {
        this.#open.delete(from);
        to.destroySoon();
      });
    }
  }
}
