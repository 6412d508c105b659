import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { ManagedProcess, makeCertificates, waitUntil } from "@moiety/testing";

export interface SecuredRedis {
  readonly url: string;
  /** Of the authority that its certificate is from. */
  readonly ca: string;
  readonly process: ManagedProcess;
  waitReady(): Promise<void>;
}

const HOST = "redis.example.org";
const PASSWORD = "p4ss/word+with=signs";

/** Starts a Redis of somebody else's, as an installation has it: TLS alone, and a password, under a host name. */
export async function startSecuredRedis(folder: string, ip: string): Promise<SecuredRedis> {
  mkdirSync(folder);
  const certificates = makeCertificates(join(folder, "certificates"), `DNS:${HOST}`);
  const file = (name: string) => join(certificates, name);
  const settings = {
    bind: ip,
    port: "0",
    "tls-port": "6379",
    "tls-cert-file": file("tls.crt"),
    "tls-key-file": file("tls.key"),
    "tls-ca-cert-file": file("ca.crt"),
    "tls-auth-clients": "no",
    requirepass: PASSWORD,
    dir: folder,
    save: "",
    appendonly: "yes",
    "maxmemory-policy": "noeviction",
  };
  const redis = new ManagedProcess({
    name: "redis",
    file: process.env["MOIETY_REDIS_SERVER"] ?? "redis-server",
    args: Object.entries(settings).flatMap(([key, value]) => [`--${key}`, value]),
    env: {},
  });
  redis.start();
  const ca = readFileSync(file("ca.crt"), "utf8");
  const answers = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect({ host: ip, port: 6379, ca, servername: HOST });
      const end = (text: string) => {
        socket.destroy();
        resolve(text.includes("+PONG"));
      };
      let text = "";
      socket.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (text.split("\r\n").length > 2) end(text);
      });
      socket.setTimeout(1_000, () => end(""));
      socket.once("error", () => end(""));
      socket.write(`AUTH ${PASSWORD}\r\nPING\r\n`);
    });
  const waitReady = async () => {
    await waitUntil("redis answers over TLS", answers, { describe: () => redis.describe(), hopeless: () => !redis.isAlive });
  };
  await waitReady();
  return { url: `rediss://:${encodeURIComponent(PASSWORD)}@${HOST}:6379`, ca, process: redis, waitReady };
}

export { HOST as REDIS_HOST };
