export * from "./app-error.js";
export * from "./bounded-queue.js";
export * from "./clock.js";
export * from "./deferred.js";
export * from "./ids.js";
export * from "./invariant.js";
export * from "./placement-table.js";
