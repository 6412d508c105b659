export * from "./config.js";
export * from "./grpc.js";
export * from "./logger.js";
export * from "./metrics.js";
export * from "./process-server.js";
export * from "./shutdown.js";
