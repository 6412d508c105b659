import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import type { experimental } from "@grpc/grpc-js";
import { AppError } from "@moiety/core";
import type { Logger } from "./logger.js";

/** PEM files. */
export interface CertificatePaths {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Contents of the files: they belong together. */
interface CertificateSet {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

export interface CertificateFilesOptions {
  readonly paths: CertificatePaths;
  readonly logger: Logger;
  readonly pollIntervalMs: number;
}

type CaListener = Parameters<experimental.CertificateProvider["addCaCertificateListener"]>[0];
type IdentityListener = Parameters<experimental.CertificateProvider["addIdentityCertificateListener"]>[0];

/**
 * A CA, a certificate and its key, read again when the files change. Contents are compared, since secrets are swapped by symbolic
 * links. A set that is half written or does not fit together is not taken: the last good one stays.
 */
export class CertificateFiles implements experimental.CertificateProvider {
  readonly #options: CertificateFilesOptions;
  readonly #caListeners = new Set<CaListener>();
  readonly #identityListeners = new Set<IdentityListener>();
  readonly #timer: NodeJS.Timeout;
  #current: CertificateSet;
  #reading = false;

  private constructor(options: CertificateFilesOptions, first: CertificateSet) {
    this.#options = options;
    this.#current = first;
    this.#timer = setInterval(() => void this.#refresh(), options.pollIntervalMs).unref();
  }

  /** @throws AppError INVALID_ARGUMENT when a file cannot be read or the three do not fit together. */
  static async open(options: CertificateFilesOptions): Promise<CertificateFiles> {
    return new CertificateFiles(options, await readSet(options.paths));
  }

  get current(): CertificateSet {
    return this.#current;
  }

  /** When the certificate expires, in Unix time. */
  get expiryMs(): number {
    return expiryOf(this.#current);
  }

  addCaCertificateListener(listener: CaListener): void {
    this.#caListeners.add(listener);
    process.nextTick(() => this.#caListeners.has(listener) && listener({ caCertificate: this.#current.ca }));
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.#caListeners.delete(listener);
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.add(listener);
    process.nextTick(() => this.#identityListeners.has(listener) && listener(identityOf(this.#current)));
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.delete(listener);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #refresh(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    try {
      const next = await readSet(this.#options.paths);
      if (isSame(next, this.#current)) return;
      this.#current = next;
      this.#options.logger.info({ expires: new Date(expiryOf(next)).toISOString() }, "certificates reloaded");
      for (const listener of this.#caListeners) listener({ caCertificate: next.ca });
      for (const listener of this.#identityListeners) listener(identityOf(next));
    } catch (error) {
      this.#options.logger.warn({ reason: AppError.from(error).message }, "certificates not reloaded");
    } finally {
      this.#reading = false;
    }
  }
}

async function readSet(paths: CertificatePaths): Promise<CertificateSet> {
  const read = (variable: string, path: string) =>
    readFile(path).catch((error: unknown) => {
      throw new AppError("INVALID_ARGUMENT", `${variable}: cannot read ${path}`, { cause: error });
    });
  const [ca, cert, key] = await Promise.all([
    read("MOIETY_TLS_CA", paths.ca),
    read("MOIETY_TLS_CERT", paths.cert),
    read("MOIETY_TLS_KEY", paths.key),
  ]);
  check(`MOIETY_TLS_CA: ${paths.ca} holds no PEM certificate`, () => new X509Certificate(ca));
  check(`MOIETY_TLS_CERT: ${paths.cert} holds no PEM certificate`, () => new X509Certificate(cert));
  check(`MOIETY_TLS_KEY: ${paths.key} holds no PEM private key`, () => createPrivateKey(key));
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    throw new AppError("INVALID_ARGUMENT", `MOIETY_TLS_KEY: ${paths.key} is not the key of the certificate ${paths.cert}`);
  }
  check("MOIETY_TLS_CA, MOIETY_TLS_CERT, MOIETY_TLS_KEY: OpenSSL refuses them", () => createSecureContext({ ca, cert, key }));
  return { ca, cert, key };
}

function check(fault: string, parse: () => unknown): void {
  try {
    parse();
  } catch (error) {
    throw new AppError("INVALID_ARGUMENT", fault, { cause: error });
  }
}

function identityOf({ cert, key }: CertificateSet) {
  return { certificate: cert, privateKey: key };
}

function expiryOf({ cert }: CertificateSet): number {
  return Date.parse(new X509Certificate(cert).validTo);
}

function isSame(a: CertificateSet, b: CertificateSet): boolean {
  return a.ca.equals(b.ca) && a.cert.equals(b.cert) && a.key.equals(b.key);
}
