import type { GatewayConfig } from "../config.js";
import type { DefaultLimits } from "./tenant-record.js";

/** Limits of tenants that have none of their own, by the configuration, in which 0 is no limit. */
export function defaultLimits(config: GatewayConfig): DefaultLimits {
  const named = {
    requestsPerMinute: config.MOIETY_LIMIT_REQUESTS_PER_MINUTE,
    tokensPerMinute: config.MOIETY_LIMIT_TOKENS_PER_MINUTE,
    concurrentRequests: config.MOIETY_LIMIT_CONCURRENT_REQUESTS,
    contextTokens: config.MOIETY_LIMIT_CONTEXT_TOKENS,
    tokensPerDay: config.MOIETY_LIMIT_TOKENS_PER_DAY,
    tokensPerMonth: config.MOIETY_LIMIT_TOKENS_PER_MONTH,
  };
  return Object.fromEntries(Object.entries(named).filter(([, limit]) => limit > 0));
}
