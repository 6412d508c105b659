export { type RouterConfig, routerConfigSchema } from "./config.js";
export { main } from "./main.js";
export { type Router, type RouterOptions, startRouter } from "./server.js";
