import type { GatewayContext } from "../gateway-context.js";
import { ResponseKeeper } from "./response-keeper.js";
import type { RunContext } from "./response-run.js";
import { ResponseStore } from "./response-store.js";

/** Stored responses, as one gateway has them. */
export interface ResponseService {
  readonly store: ResponseStore;
  readonly keeper: ResponseKeeper;
  close(): Promise<void>;
}

/** Connects to the store, and begins to look after what is in it. Redis may come later. */
export function openResponseService(context: RunContext & Pick<GatewayContext, "config">): ResponseService {
  const { config, clock, logger } = context;
  const store = new ResponseStore({
    redisUrl: config.MOIETY_REDIS_URL,
    prefix: config.MOIETY_REDIS_PREFIX,
    ttlMs: config.MOIETY_RESPONSES_TTL_MS,
    maxTenantBytes: config.MOIETY_RESPONSES_MAX_BYTES,
    clock,
    onError: (error) => logger.warn({ err: error }, "responses' store fault"),
  });
  const keeper = new ResponseKeeper(context, store);
  return {
    store,
    keeper,
    async close() {
      await keeper.close();
      await store.close();
    },
  };
}
