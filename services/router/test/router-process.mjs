import { main } from "../dist/index.js";

// biome-ignore lint/style/noProcessEnv: this file is the process's main
await main(process.env);
