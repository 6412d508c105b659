import type { ClientDuplexStream, ServiceError } from "@grpc/grpc-js";
import { AppError, errorCodeOf } from "@moiety/core";
import { ControlServiceClient, type RouterMessage, type WorkerMessage } from "@moiety/proto";
import { controlChannelOptions } from "./grpc.js";
import type { RouterTarget } from "./router-targets.js";
import type { Transport } from "./transport.js";

/** One stream to the router, from its opening to its end. */
export interface ControlSession {
  /** Settles once, never rejects: absent when the router ended the stream politely. */
  readonly ended: Promise<AppError | undefined>;
  /** False while earlier messages still wait to be written, and once the stream is over. */
  readonly writable: boolean;
  /** Sends, or does nothing when not {@link writable}. */
  send(message: WorkerMessage["message"]): void;
  /** Says that nothing more will be sent; what was sent is still delivered. */
  finish(): void;
  /** Lets go of the stream at once. */
  abort(reason: AppError): void;
}

export interface ControlSessionOptions {
  readonly target: RouterTarget;
  readonly transport: Transport;
  readonly onMessage: (message: RouterMessage) => void;
}

/** Opens a stream on a connection of its own, so that back-off has one owner: the caller. */
export function openControlSession(options: ControlSessionOptions): ControlSession {
  const { address, hostName } = options.target;
  const named = hostName === undefined ? {} : { "grpc.ssl_target_name_override": hostName, "grpc.default_authority": hostName };
  const { transport } = options;
  const channelOptions = { ...controlChannelOptions, ...named, ...transport.channelOptions };
  const client = new ControlServiceClient(address, transport.clientCredentials(), channelOptions);
  const stream = client.join();
  let over = false;
  let settle: (outcome: AppError | undefined) => void = () => {};
  const ended = new Promise<AppError | undefined>((resolve) => {
    settle = (outcome) => {
      if (over) return;
      over = true;
      client.close();
      resolve(outcome);
    };
  });
  stream.on("data", (message: RouterMessage) => {
    if (!over) options.onMessage(message);
  });
  stream.on("end", () => settle(undefined));
  stream.on("error", (error: ServiceError) => settle(fromServiceError(error)));
  return {
    ended,
    get writable() {
      return !over && isWritable(stream);
    },
    send: (message) => {
      if (!over && isWritable(stream)) stream.write({ message });
    },
    finish: () => stream.end(),
    abort: (reason) => {
      settle(reason);
      stream.cancel();
    },
  };
}

function isWritable(stream: ClientDuplexStream<WorkerMessage, RouterMessage>): boolean {
  return !stream.writableNeedDrain && !stream.writableEnded && !stream.destroyed;
}

function fromServiceError(error: ServiceError): AppError {
  return new AppError(errorCodeOf(error.code), error.details || error.message, { cause: error });
}
