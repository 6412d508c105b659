import { lstat, mkdir, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";
import { type ChannelOptions, credentials, Server } from "@grpc/grpc-js";
import { AppError } from "@moiety/core";
import { plainTransport, type Transport } from "./transport.js";

const MIB = 1024 * 1024;

/** Largest message that either side accepts: 16,384 rows of 2,880 f32 activations and their header. */
export const MAX_MESSAGE_BYTES = 192 * MIB;

/** Channel options of the control plane: small messages, dead peers noticed in seconds. */
export const controlChannelOptions: ChannelOptions = {
  "grpc.keepalive_time_ms": 2_000,
  "grpc.keepalive_timeout_ms": 2_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.min_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  "grpc.max_receive_message_length": 4 * MIB,
  "grpc.use_local_subchannel_pool": 1,
};

/** Channel options of a subscriber on the data plane, which receives rows: large windows, large messages. */
export const dataChannelOptions: ChannelOptions = {
  ...controlChannelOptions,
  "grpc-node.flow_control_window": 8 * MIB,
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
};

export const insecureCredentials = () => credentials.createInsecure();

export interface ListeningServer {
  /** The port that was bound; 0 for a unix socket. */
  readonly port: number;
  /** Ends streams politely, then by force. */
  close(): Promise<void>;
}

/**
 * Binds a gRPC server. `address` is host:port or unix:path; a socket that a killed process has left behind is replaced.
 * @throws AppError UNAVAILABLE when the address is taken or cannot be bound.
 */
export async function listen(server: Server, address: string, transport: Transport = plainTransport): Promise<ListeningServer> {
  if (address.startsWith("unix:")) await prepareSocket(address.replace(/^unix:(\/\/)?/, ""));
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(address, transport.serverCredentials(), (error, bound) =>
      error
        ? reject(new AppError("UNAVAILABLE", `cannot listen on ${address}: ${error.message}`, { cause: error }))
        : resolve(bound),
    ),
  );
  const close = () =>
    new Promise<void>((resolve) => {
      const force = setTimeout(() => server.forceShutdown(), 1_000);
      server.tryShutdown(() => {
        clearTimeout(force);
        resolve();
      });
    });
  return { port, close };
}

async function prepareSocket(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const found = await lstat(path).catch(() => undefined);
  if (found?.isSocket() !== true) return;
  if (await answers(path)) throw new AppError("UNAVAILABLE", `cannot listen on unix:${path}: another process does`);
  await unlink(path).catch(() => {});
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** A server that takes messages up to `maxReceiveBytes` and notices dead peers. */
export function createServer(maxReceiveBytes = 4 * MIB): Server {
  return new Server({
    "grpc.max_receive_message_length": maxReceiveBytes,
    "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
    "grpc.keepalive_time_ms": 2_000,
    "grpc.keepalive_timeout_ms": 2_000,
  });
}

/**
 * Under which address others reach a server that listens on `listenAddress` and was bound to `port`.
 * `advertise` is a host, which gets the port, or a whole host:port or unix:path; absent: the address listened on.
 */
export function advertisedAddress(listenAddress: string, port: number, advertise?: string): string {
  if (advertise !== undefined && (advertise.startsWith("unix:") || /:\d+$/.test(advertise))) return advertise;
  if (advertise === undefined && listenAddress.startsWith("unix:")) return listenAddress;
  return `${advertise ?? listenAddress.replace(/:\d+$/, "")}:${port}`;
}
