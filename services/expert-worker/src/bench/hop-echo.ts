import { createServer, type Socket } from "node:net";
import { AppError, PlacementTable } from "@moiety/core";
import type { ExpertCall, ExpertEngine } from "@moiety/kernels";
import type { ModelIdentity } from "@moiety/proto";
import type { Logger } from "@moiety/runtime";
import { expertWorkerConfigSchema } from "../config.js";
import { type ExpertWorker, serveExperts } from "../server.js";

/** The far end of a hop's measurement, to run in a process of its own. */
export interface HopEcho {
  /** Speak the data plane, over TCP and over a Unix socket, as expert workers whose only expert gives back what it gets. */
  readonly tcpAddress: string;
  readonly unixAddress: string;
  /** Speaks bare TCP: a u32 length, little-endian, and so many bytes, which come back without the length. */
  readonly tcpPort: number;
  close(): Promise<void>;
}

/** Serves all three. `model` has one layer, one expert, one choice per row; `socket` is a path that is free. */
export async function serveHopEcho(options: {
  readonly model: ModelIdentity;
  readonly logger: Logger;
  readonly socket: string;
}): Promise<HopEcho> {
  const workers = [await echoWorker(options, "127.0.0.1:0"), await echoWorker(options, `unix:${options.socket}`)];
  const tcp = createServer({ noDelay: true }, echo);
  const tcpPort = await new Promise<number>((resolve) =>
    tcp.listen(0, "127.0.0.1", () => {
      const bound = tcp.address();
      resolve(typeof bound === "object" && bound !== null ? bound.port : 0);
    }),
  );
  const close = async () => {
    tcp.close();
    await Promise.all(workers.map((worker) => worker.close()));
  };
  const [tcpAddress = "", unixAddress = ""] = workers.map(({ address }) => address);
  return { tcpAddress, unixAddress, tcpPort, close };
}

async function echoWorker(
  { model, logger }: { readonly model: ModelIdentity; readonly logger: Logger },
  listenAddress: string,
): Promise<ExpertWorker> {
  const config = expertWorkerConfigSchema.parse({
    MOIETY_WORKER_ID: "hop-echo",
    MOIETY_MODEL: "none",
    MOIETY_LISTEN_ADDRESS: listenAddress,
  });
  const source = { model, engine: new EchoEngine(), expertRefs: noRefs, runningMs: () => 0 };
  const worker = await serveExperts({ config, source, logger, joinRouter: false });
  const { id, address } = worker;
  const placement = { epoch: 1, phase: "active", layers: 1, experts: 1 } as const;
  worker.applyPlacement(new PlacementTable({ ...placement, workers: [{ id, address, experts: [[]] }] }));
  return worker;
}

function noRefs(): never {
  throw new AppError("INTERNAL", "an echo has no weights");
}

/** Sends each message back once all of it is here, as a call's answer would be. */
function echo(socket: Socket): void {
  let chunks: Buffer[] = [];
  let received = 0;
  let expected = -1;
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    const body = expected < 0 ? chunk.subarray(4) : chunk;
    if (expected < 0) expected = chunk.readUInt32LE(0);
    chunks.push(body);
    received += body.length;
    if (received < expected) return;
    socket.write(Buffer.concat(chunks));
    chunks = [];
    received = 0;
    expected = -1;
  });
}

/** Gives back the rows as they came. */
class EchoEngine implements ExpertEngine {
  readonly residentBytes = 0;
  async load(): Promise<void> {}
  async unload(): Promise<void> {}
  holds(): boolean {
    return true;
  }
  async run(call: ExpertCall): Promise<void> {
    call.outputs.forEach((output, index) => {
      output.set(call.inputs[index] ?? []);
    });
  }
}
