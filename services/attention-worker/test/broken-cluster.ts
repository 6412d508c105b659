import { Metadata, type ServerDuplexStream } from "@grpc/grpc-js";
import { openCheckpoint } from "@moiety/model";
import {
  AttentionRowClient,
  ControlServiceService,
  type DispatchRows,
  expertRowService,
  type Placement,
  PlacementState,
  type ResultStream,
  type RouterMessage,
  type WorkerMessage,
} from "@moiety/proto";
import { createServer, insecureCredentials, listen } from "@moiety/runtime";

/** A router that places everything on one expert worker, and that expert worker, which fails every call. */
export interface BrokenCluster {
  readonly routerAddress: string;
  /** Calls that were answered with an error. */
  readonly failedCalls: number;
  close(): Promise<void>;
}

export async function startBrokenCluster(model: string): Promise<BrokenCluster> {
  const { layers, experts } = (await openCheckpoint(model)).config;
  let failedCalls = 0;
  const server = createServer();
  const fail = (results: ResultStream, call: DispatchRows) => {
    failedCalls += 1;
    const header = { callId: call.callId, epoch: call.epoch, queueUs: 0, computeUs: 0 };
    results.write({ kind: "error", header, code: "INTERNAL", message: "this worker fails every call" });
  };
  server.addService(expertRowService, {
    pull(results: ResultStream) {
      const { linkId, subscriberAddress, model: identity } = results.request;
      const client = new AttentionRowClient(subscriberAddress, insecureCredentials());
      const calls = client.pull({ linkId, subscriberId: "e0", subscriberAddress: "127.0.0.1:1", model: identity });
      calls.on("metadata", () => results.sendMetadata(new Metadata()));
      calls.on("data", (call: DispatchRows) => fail(results, call));
      calls.on("end", () => results.end());
      calls.on("error", () => results.end());
      results.on("cancelled", () => client.close());
    },
  });
  const all = Array.from({ length: experts }, (_, expert) => expert);
  const join = (placement: Placement) => (stream: ServerDuplexStream<WorkerMessage, RouterMessage>) => {
    stream.on("data", ({ message }: WorkerMessage) => {
      if (message?.$case !== "hello") return;
      stream.write({ message: { $case: "welcome", value: { heartbeatIntervalMs: 500, heartbeatTimeoutMs: 5_000, term: 0 } } });
      stream.write({ message: { $case: "placement", value: placement } });
    });
    stream.on("end", () => stream.end());
    stream.on("error", () => stream.end());
  };
  let placement: Placement = { epoch: 1, state: PlacementState.PLACEMENT_STATE_ACTIVE, assignments: [] };
  server.addService(ControlServiceService, {
    join: (stream: ServerDuplexStream<WorkerMessage, RouterMessage>) => join(placement)(stream),
  });
  const { port, close } = await listen(server, "127.0.0.1:0");
  const address = `127.0.0.1:${port}`;
  const held = Array.from({ length: layers }, (_, layer) => ({ layer, experts: all }));
  placement = { ...placement, assignments: [{ workerId: "e0", address, layers: held }] };
  return {
    routerAddress: address,
    get failedCalls() {
      return failedCalls;
    },
    close,
  };
}
