export { createRequestConsumer, type RequestConsumerOptions } from "./consumer.js";
export { queueKeys } from "./keys.js";
export { createRequestProducer, type RequestProducerOptions } from "./producer.js";
export { MAX_PRIORITY } from "./record-codec.js";
export { connectRedis, disconnectRedis, type QueueConnectionOptions, type RedisConnection } from "./redis-connection.js";
export { asArray, asText, RedisScript } from "./scripts.js";
export * from "./types.js";
