// A consumer in a process of its own, for tests that kill it: claims one request and appends a token every 20 ms.
import { createViteServer } from "vitest/node";

const [redisUrl, prefix] = process.argv.slice(2);
const root = new URL("../../..", import.meta.url).pathname;
const vite = await createViteServer({
  configFile: false,
  root,
  logLevel: "error",
  appType: "custom",
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source"] } },
  server: { middlewareMode: true, hmr: false, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true },
});
const { createRequestConsumer } = await vite.ssrLoadModule(new URL("../src/index.ts", import.meta.url).pathname);
const consumer = createRequestConsumer({ redisUrl, prefix, capacity: 1 });
await consumer.start((claim) => {
  let next = claim.log.length;
  const append = async () => {
    const outcome = await claim.append(next, [{ token: 1000 + next }]);
    process.stdout.write(`${outcome}\n`);
    next += 1;
    if (outcome === "appended") setTimeout(append, 20);
  };
  append();
});
