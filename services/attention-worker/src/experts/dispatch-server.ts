import { AppError, ERROR_CODES, type ErrorCode } from "@moiety/core";
import {
  type AttentionRowServer,
  attentionRowService,
  type DispatchStream,
  identityMismatch,
  type ModelIdentity,
} from "@moiety/proto";
import { createServer, listen, type Transport } from "@moiety/runtime";

/** Takes over the stream on which an expert worker pulls its calls. */
export type DispatchAcceptor = (stream: DispatchStream) => void;

export interface DispatchServer {
  /** The port that was bound; 0 for a unix socket. */
  readonly port: number;
  /** Announces that an expert worker will subscribe with this link id, once. Returns how to withdraw. */
  expect(linkId: string, accept: DispatchAcceptor): () => void;
  close(): Promise<void>;
}

/**
 * Serves AttentionService: the halves of links on which calls go out.
 * @throws AppError UNAVAILABLE when the address cannot be bound.
 */
export async function startDispatchServer(options: {
  /** host:port or unix:path. */
  readonly listenAddress: string;
  readonly model: ModelIdentity;
  /** Absent: plain text. */
  readonly transport?: Transport;
}): Promise<DispatchServer> {
  const expected = new Map<string, DispatchAcceptor>();
  const server = createServer();
  const implementation: AttentionRowServer = {
    pull(stream) {
      const { linkId, model } = stream.request;
      const mismatch = identityMismatch(options.model, model);
      if (mismatch !== undefined) return refuse(stream, "FAILED_PRECONDITION", mismatch);
      const accept = expected.get(linkId);
      if (accept === undefined) return refuse(stream, "NOT_FOUND", "no link of this id is being opened here");
      expected.delete(linkId);
      accept(stream);
    },
  };
  server.addService(attentionRowService, implementation);
  const listening = await listen(server, options.listenAddress, options.transport);
  return {
    port: listening.port,
    expect(linkId, accept) {
      expected.set(linkId, accept);
      return () => expected.delete(linkId);
    },
    close: () => listening.close(),
  };
}

function refuse(stream: DispatchStream, code: ErrorCode, message: string): void {
  stream.emit("error", Object.assign(new AppError(code, message), { code: ERROR_CODES[code], details: message }));
}
