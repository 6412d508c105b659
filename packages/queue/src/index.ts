export { createRequestConsumer, type RequestConsumerOptions } from "./consumer.js";
export { createRequestProducer, type RequestProducerOptions } from "./producer.js";
export { MAX_PRIORITY } from "./record-codec.js";
export type { QueueConnectionOptions } from "./redis-connection.js";
export * from "./types.js";
