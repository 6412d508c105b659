import { createServer } from "node:http";

const readyAtMs = Date.now() + Number(process.env.READY_AFTER_MS ?? 0);
if (process.env.FAIL) {
  console.error("cannot start on purpose");
  process.exit(3);
}
createServer((request, response) => {
  const ready = request.url !== "/ready" || Date.now() >= readyAtMs;
  response.writeHead(ready ? 200 : 503).end(String(process.pid));
}).listen(Number(process.env.MOIETY_HTTP_PORT), "127.0.0.1", () => console.log("listening"));
process.on("SIGTERM", () => process.exit(0));
