import type { Clock, RequestId, TenantId } from "@moiety/core";
import { parseRequestId } from "@moiety/core";
import type { GenerationParams } from "@moiety/queue";
import { invalidField } from "../openai/errors.js";
import type { GenerationFields } from "../openai/request-fields.js";
import type { ChoicePlan } from "./choice.js";
import type { OutputReader } from "./output-reader.js";
import { deriveSeeds, stopStrings } from "./sampling.js";

export interface PlanOptions {
  readonly id: RequestId;
  readonly tenant: TenantId;
  readonly fields: GenerationFields;
  /** As the API has it; lower is more urgent. */
  readonly priority: number;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly createReader: () => OutputReader;
  readonly prompts: readonly {
    readonly tokens: Int32Array;
    readonly params: Omit<GenerationParams, "seed">;
    /** Tokens that an answer is expected to have. */
    readonly expectedOutput: number;
  }[];
}

/** BullMQ knows no negative priorities. */
const PRIORITY_OFFSET = 1_000;

/** One choice for each prompt and each of its `n`; choice `p * n + i` is the i-th of prompt p. */
export function planChoices(options: PlanOptions): readonly ChoicePlan[] {
  const { fields, tenant } = options;
  const count = fields.n ?? 1;
  const seeds = deriveSeeds(fields.seed, count);
  const stops = stopStrings(fields);
  const createdAtMs = options.clock.nowMs();
  return options.prompts.flatMap(({ tokens, params, expectedOutput }, prompt) =>
    seeds.map((seed, choice) => {
      const index = prompt * count + choice;
      return {
        index,
        stops,
        askedStopTokenIds: fields.stop_token_ids ?? [],
        createReader: options.createReader,
        record: {
          id: parseRequestId(index === 0 ? options.id : `${options.id}.${index}`),
          tenant,
          cacheSalt: fields.cache_salt === undefined ? tenant : `${tenant}/${fields.cache_salt}`,
          priority: options.priority + PRIORITY_OFFSET,
          createdAtMs,
          deadlineAtMs: createdAtMs + options.timeoutMs,
          promptTokens: tokens,
          params: { ...params, seed },
          expectedTokens: tokens.length + expectedOutput,
        },
      };
    }),
  );
}

/** Longest prompt plus answer, and what to call it. */
export interface ContextLimit {
  readonly tokens: number;
  readonly name: string;
}

/** How many tokens may follow a prompt. @throws AppError INVALID_ARGUMENT when prompt, or prompt and answer, exceed the context. */
export function outputLimit(options: {
  readonly promptTokens: number;
  readonly asked: number | undefined;
  readonly askedField: string;
  readonly context: ContextLimit;
  readonly promptField: string;
}): number {
  const { promptTokens, asked, context } = options;
  const { tokens: contextTokens, name } = context;
  const room = contextTokens - promptTokens;
  if (room <= 0) {
    const message = `the prompt has ${promptTokens} tokens; with at least one more, at most ${contextTokens} fit into ${name}`;
    throw invalidField(options.promptField, message, "context_length_exceeded");
  }
  if (asked !== undefined && asked > room) {
    const message = `${asked} tokens after a prompt of ${promptTokens} exceed ${name} of ${contextTokens}; expected at most ${room}`;
    throw invalidField(options.askedField, message, "context_length_exceeded");
  }
  return asked ?? room;
}
