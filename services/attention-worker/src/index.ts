export { type AttentionWorkerConfig, attentionWorkerConfigSchema } from "./config.js";
export { main } from "./main.js";
export { type AttentionWorker, type AttentionWorkerOptions, startAttentionWorker } from "./server.js";
