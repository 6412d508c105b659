import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";

const HTTP2_PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PATIENCE_MS = 10_000;

export interface Caller {
  readonly tls: boolean;
  /** Folder of tls.crt and tls.key; absent: none is shown. */
  readonly certificates?: string;
}

/** Whether a port says anything to a caller that speaks HTTP/2, hangs up before it does, or is silent. */
export function callGrpc(
  address: { readonly host: string; readonly port: number },
  { tls, certificates }: Caller,
): Promise<"answers" | "refuses" | "silent"> {
  return new Promise((resolve) => {
    const identity =
      certificates === undefined
        ? {}
        : { cert: readFileSync(join(certificates, "tls.crt")), key: readFileSync(join(certificates, "tls.key")) };
    const socket: Socket = tls
      ? connectTls({ ...address, ...identity, ALPNProtocols: ["h2"], rejectUnauthorized: false })
      : connect(address);
    const end = (outcome: "answers" | "refuses" | "silent") => {
      socket.destroy();
      resolve(outcome);
    };
    socket.setTimeout(PATIENCE_MS, () => end("silent"));
    socket.once("data", () => end("answers"));
    socket.once("error", () => end("refuses"));
    socket.once("close", () => end("refuses"));
    socket.write(HTTP2_PREFACE, "latin1");
  });
}
