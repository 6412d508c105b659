export { benchPrompts, type PromptTimes } from "./bench/prompt-bench.js";
export { type GatewayConfig, gatewayConfigSchema } from "./config.js";
export { main, serveGateway } from "./main.js";
export { type Gateway, type GatewayOptions, startGateway } from "./server.js";
