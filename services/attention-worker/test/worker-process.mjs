// Runs the service from its sources, as vitest does, in a process that a test can end.
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const resolve = { conditions: ["source"] };
const root = fileURLToPath(new URL("../../..", import.meta.url));
const entry = fileURLToPath(new URL("../src/index.ts", import.meta.url));
const { module } = await runnerImport(entry, { root, configFile: false, logLevel: "error", resolve, ssr: { resolve } });
// biome-ignore lint/style/noProcessEnv: this is the process's entry.
await module.main(process.env);
