export * from "./model-config.js";
export * from "./tensor-ref.js";
