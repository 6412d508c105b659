// What an image starts: node start.mjs <main.js of a service>. Its configuration is the environment.
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [entry] = process.argv.slice(2);
if (entry === undefined) {
  process.stderr.write("Usage: node start.mjs <main.js of a service>\n");
  process.exit(2);
}
try {
  const { main } = await import(pathToFileURL(resolve(entry)).href);
  await main(process.env);
} catch (error) {
  // Faults that have a code are told in words that are enough; others are our own.
  const text = error instanceof Error ? ("code" in error && error.message) || error.stack : String(error);
  // What was begun, such as a server, must not keep the process.
  process.stderr.write(`moiety: ${text}\n`, () => process.exit(1));
}
