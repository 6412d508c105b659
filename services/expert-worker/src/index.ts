export { type HopEcho, serveHopEcho } from "./bench/hop-echo.js";
export { type ExpertWorkerConfig, expertWorkerConfigSchema } from "./config.js";
export { main } from "./main.js";
export {
  type ExpertWorker,
  type ExpertWorkerOptions,
  type ServeExpertsOptions,
  serveExperts,
  startExpertWorker,
} from "./server.js";
export type { ExpertSource } from "./worker-parts.js";
