import { randomInt } from "node:crypto";
import { createServer, type Server } from "node:net";
import { AppError } from "@moiety/core";

/** Below the ports that systems give to outgoing connections (from 32,768 on Linux), any of which could take one before it is used. */
const FIRST_PORT = 12_000;
const LAST_PORT = 32_000;
const MOST_TRIES = 1_000;

/** Different free ports of the loopback interface. Another server may take one before it is used; that is then reported. */
export async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = [];
  const ports: number[] = [];
  try {
    for (let tries = 0; ports.length < count && tries < MOST_TRIES; tries++) {
      const port = randomInt(FIRST_PORT, LAST_PORT);
      const server = createServer();
      try {
        ports.push(await listen(server, "127.0.0.1", port));
        servers.push(server);
      } catch {
        // Something listens there.
      }
    }
  } finally {
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }
  if (ports.length < count)
    throw new AppError("UNAVAILABLE", `found no ${count} free ports of 127.0.0.1 from ${FIRST_PORT} to ${LAST_PORT}`);
  return ports;
}

/** @throws AppError UNAVAILABLE when the address cannot be listened on. */
export async function checkPortIsFree(host: string, port: number): Promise<void> {
  const server = createServer();
  await listen(server, host, port);
  await new Promise((resolve) => server.close(resolve));
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const reason = error.code === "EADDRINUSE" ? "it is in use; choose another with --port" : error.message;
      reject(new AppError("UNAVAILABLE", `cannot listen on ${host}:${port}: ${reason}`, { cause: error }));
    });
    server.listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
