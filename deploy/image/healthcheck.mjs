// Whether the process of this container answers: node healthcheck.mjs [/health or /ready]. Ends with 0 if it does, else with 1.
const TIMEOUT_MS = 4_000;
/** Addresses that mean every interface. */
const WILDCARDS = new Set(["0.0.0.0", "::"]);

const [path = "/health"] = process.argv.slice(2);
const { MOIETY_HTTP_HOST: host = "127.0.0.1", MOIETY_HTTP_PORT: port = "8080" } = process.env;
const name = WILDCARDS.has(host) ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
try {
  const response = await fetch(`http://${name}:${port}${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  console.log(await response.text());
  process.exitCode = response.ok ? 0 : 1;
} catch (error) {
  console.log(`no answer: ${error.cause?.message ?? error.message}`);
  process.exitCode = 1;
}
