import { checkServerIdentity } from "node:tls";
import { type ChannelCredentials, type ChannelOptions, credentials, experimental, ServerCredentials } from "@grpc/grpc-js";
import { AppError } from "@moiety/core";
import { Gauge, type Registry } from "prom-client";
import { z } from "zod";
import { CertificateFiles, type CertificatePaths } from "./certificate-files.js";
import type { Logger } from "./logger.js";

const path = (what: string) => z.string().min(1).optional().describe(what);

/** How a process with a gRPC port is told to use TLS. */
export const tlsConfigShape = {
  MOIETY_TLS_CA: path("PEM file of the CAs that every process's certificate is verified against; absent: plain text"),
  MOIETY_TLS_CERT: path("PEM file of this process's certificate and its chain, for serving and for calling"),
  MOIETY_TLS_KEY: path("PEM file of the certificate's private key"),
  MOIETY_TLS_SERVER_NAME: path("name that the certificates of all servers bear; absent: the host of the address called"),
};

export type TlsConfig = { readonly [Key in keyof typeof tlsConfigShape]?: string | undefined };

/** How the processes of a cluster speak to each other. */
export interface Transport {
  /** For one new channel; to be taken anew for the next one, since certificates change. */
  clientCredentials(): ChannelCredentials;
  /** Go with those. */
  readonly channelOptions: ChannelOptions;
  serverCredentials(): ServerCredentials;
  /** Stops watching files. */
  close(): void;
}

export const plainTransport: Transport = {
  clientCredentials: () => credentials.createInsecure(),
  channelOptions: {},
  serverCredentials: () => ServerCredentials.createInsecure(),
  close: () => {},
};

export interface TransportOptions {
  readonly config: TlsConfig & { readonly MOIETY_LISTEN_ADDRESS: string };
  readonly logger: Logger;
  readonly registry: Registry;
  /** How often the files are looked at. */
  readonly pollIntervalMs?: number;
}

/**
 * Mutual TLS when the three files are named, else plain text, with a warning when others than this machine can reach the port.
 * @throws AppError INVALID_ARGUMENT when only some files are named, or a file holds no usable certificate or key.
 */
export async function openTransport(options: TransportOptions): Promise<Transport> {
  const { config, logger, registry, pollIntervalMs = 5_000 } = options;
  const paths = pathsOf(config);
  if (paths === undefined) {
    const address = config.MOIETY_LISTEN_ADDRESS;
    if (!isLocal(address)) logger.warn({ address }, "listening beyond this machine without TLS");
    return plainTransport;
  }
  const files = await CertificateFiles.open({ paths, logger, pollIntervalMs });
  new Gauge({
    name: "moiety_tls_certificate_expiry_seconds",
    help: "Unix time at which this process's certificate expires",
    registers: [registry],
    collect() {
      this.set(files.expiryMs / 1_000);
    },
  });
  const serverName = config.MOIETY_TLS_SERVER_NAME;
  return {
    clientCredentials: () => {
      const { ca, cert, key } = files.current;
      return credentials.createSsl(ca, key, cert, {
        checkServerIdentity: (host, peer) => checkServerIdentity(serverName ?? host, peer),
      });
    },
    // An address is no name to ask a server for in the handshake.
    channelOptions: serverName === undefined ? {} : { "grpc.ssl_target_name_override": serverName },
    serverCredentials: () => experimental.createCertificateProviderServerCredentials(files, files, true),
    close: () => files.close(),
  };
}

function pathsOf(config: TlsConfig): CertificatePaths | undefined {
  const { MOIETY_TLS_CA: ca, MOIETY_TLS_CERT: cert, MOIETY_TLS_KEY: key } = config;
  if (ca !== undefined && cert !== undefined && key !== undefined) return { ca, cert, key };
  const names = ["MOIETY_TLS_CA", "MOIETY_TLS_CERT", "MOIETY_TLS_KEY"] as const;
  const missing = names.filter((name) => config[name] === undefined);
  if (missing.length === names.length) return undefined;
  throw new AppError("INVALID_ARGUMENT", `${missing.join(", ")}: expected all of ${names.join(", ")}, or none`);
}

function isLocal(address: string): boolean {
  return address.startsWith("unix:") || /^(127(\.\d+){3}|localhost|\[::1\]):\d+$/.test(address);
}
