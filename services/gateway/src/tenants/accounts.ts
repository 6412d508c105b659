import { type AppError, type Clock, invariant, newRequestId } from "@moiety/core";
import { connectRedis, disconnectRedis, expectedTokens, type RequestProducer } from "@moiety/queue";
import type { Logger } from "@moiety/runtime";
import type { Caller } from "../auth/authenticate.js";
import type { GatewayConfig } from "../config.js";
import type { ChoiceEnd, ChoicePlan } from "../generation/choice.js";
import type { GatewayMetrics } from "../metrics.js";
import type { ServedModel } from "../model/served-model.js";
import { cachedTokensOf } from "../openai/usage.js";
import { AccountBook } from "./account-book.js";
import { AccountKeeper } from "./account-keeper.js";
import { AuditLog } from "./audit-log.js";
import { AuditTally } from "./audit-tally.js";
import { Charge } from "./charge.js";
import { defaultLimits } from "./default-limits.js";
import type { TenantPolicy } from "./tenant-record.js";
import { TenantStore } from "./tenant-store.js";
import { UsageBook } from "./usage-book.js";

export interface AccountsContext {
  readonly config: GatewayConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Pick<GatewayMetrics, "audit">;
  readonly model: ServedModel;
  readonly producer: Pick<RequestProducer, "progress">;
}

/** Who asks for what. */
export interface ChargeFacts {
  readonly caller: Caller;
  readonly policy: TenantPolicy;
  /** Method and route, for the audit log. */
  readonly kind: string;
  readonly requestId: string;
  readonly plans: readonly ChoicePlan[];
  readonly promptOf: (index: number) => number;
}

/** After its deadline a request may take so long to end. */
const GRACE_MS = 60_000;

/** Tenants, and what they take: as one gateway has them. */
export class Accounts {
  readonly tenants: TenantStore;
  readonly usage: UsageBook;
  readonly audit: AuditLog;
  readonly book: AccountBook;
  readonly #context: AccountsContext;
  readonly #keeper: AccountKeeper;
  readonly #close: () => Promise<void>;

  /** Connects in the background; Redis may come later. */
  constructor(context: AccountsContext) {
    const { config, clock, logger, producer } = context;
    this.#context = context;
    const { MOIETY_REDIS_URL: redisUrl, MOIETY_REDIS_PREFIX: prefix } = config;
    const onError = (error: AppError) => logger.warn({ err: error }, "fault of the accounts");
    const redis = connectRedis({ redisUrl, onError }, "accounts");
    const shared = { redis, prefix, clock };
    this.tenants = new TenantStore({ ...shared, defaults: defaultLimits(config) });
    this.usage = new UsageBook(shared);
    const retention = { entries: config.MOIETY_AUDIT_ENTRIES, days: config.MOIETY_AUDIT_DAYS };
    const tally = new AuditTally({ metrics: context.metrics.audit, logger, clock });
    this.book = new AccountBook({
      ...shared,
      leaseMs: config.MOIETY_TENANT_LEASE_MS,
      usageDays: config.MOIETY_USAGE_DAYS,
      usageSubjects: config.MOIETY_USAGE_SUBJECTS,
      audit: retention,
      tally,
      onError,
    });
    this.audit = new AuditLog({ ...shared, logger, tally, retention });
    this.#keeper = new AccountKeeper({ book: this.book, producer, clock, leaseMs: config.MOIETY_TENANT_LEASE_MS, logger });
    this.#close = () => disconnectRedis(redis);
  }

  /** Begins to look after what other gateways left. */
  start(): void {
    this.#keeper.start();
  }

  /**
   * Refuses a request of a tenant at its limits before any work is done for it: so many refusals cost others little.
   * @throws AppError as {@link admit} does.
   */
  async checkRoom(caller: Caller): Promise<void> {
    const policy = await this.tenants.policy(caller.tenant);
    const { requestsPerMinute, tokensPerMinute, concurrentRequests, tokensPerDay, tokensPerMonth } = policy;
    const limits = [requestsPerMinute, tokensPerMinute, concurrentRequests, tokensPerDay, tokensPerMonth];
    if (limits.every((limit) => limit === undefined)) return;
    await this.book.look({ id: newRequestId("look"), caller, policy, requestId: "" });
  }

  /** Lets a request in, if its tenant's limits allow it. @throws AppError RESOURCE_EXHAUSTED, INVALID_ARGUMENT, UNAVAILABLE. */
  async admit({ caller, policy, kind, requestId, plans, promptOf }: ChargeFacts): Promise<Charge> {
    const [first] = plans;
    invariant(first !== undefined, "a request has at least one choice");
    const prompts = new Map(plans.map(({ index, record }) => [promptOf(index), record.promptTokens.length]));
    const promptTokens = [...prompts.values()].reduce((sum, tokens) => sum + tokens, 0);
    const answers = plans.reduce((sum, { record }) => sum + expectedTokens(record) - record.promptTokens.length, 0);
    const lease = { id: first.record.id, caller, choices: plans.map(({ record }) => record.id), promptTokens, kind, requestId };
    const limits = await this.book.admit({ ...lease, policy, reservedTokens: promptTokens + answers });
    const { book } = this;
    this.#keeper.hold(lease, Math.max(...plans.map(({ record }) => record.deadlineAtMs)) + GRACE_MS);
    const texts = policy.auditText ? this.#texts(plans) : undefined;
    const cachedOf = (ends: readonly (ChoiceEnd | undefined)[]) => cachedTokensOf(plans, ends, promptOf);
    return new Charge({ lease, limits, book, keeper: this.#keeper, cachedOf, ...(texts ? { texts } : {}) });
  }

  async close(): Promise<void> {
    await this.audit.close();
    await this.#keeper.close();
    await this.#close();
  }

  #texts(plans: readonly ChoicePlan[]) {
    const { model, config } = this.#context;
    const most = config.MOIETY_AUDIT_TEXT_CHARACTERS;
    const textOf = (tokens: ArrayLike<number>) =>
      model.tokenizer?.decode(Int32Array.from(tokens)) ?? Array.from(tokens).join(" ");
    const join = (lists: readonly ArrayLike<number>[]) => lists.map(textOf).join("\n").slice(0, most);
    const prompts = [...new Set(plans.map(({ record }) => record.promptTokens))];
    return (outputs: readonly (readonly number[])[]) => ({ input: join(prompts), output: join(outputs) });
  }
}
