import { createServer } from "node:net";

const FIRST = 20_000;
/** Below the range from which systems draw the ports of outgoing connections, so that a killed server finds its own free again. */
const LAST = 32_000;
const TRIES = 200;

const given = new Set<number>();

/** A port on 127.0.0.1 that nobody listens on, and that was not handed out before by this process. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no free port found in ${FIRST} to ${LAST}`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
