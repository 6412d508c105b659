import type { RequestId, TenantId } from "@moiety/core";

/** How one request is sampled and when it ends. JSON-safe: the seed is a decimal string. */
export interface GenerationParams {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** Unsigned 64-bit, decimal. Always present: the gateway draws one when the client gave none. */
  readonly seed: string;
  readonly maxTokens: number;
  /** Stop tokens are not drawn before so many tokens. */
  readonly minTokens: number;
  /** Tokens that end the generation; they are logged like any other. */
  readonly stopTokenIds: readonly number[];
  /** Added to logits, by token. */
  readonly logitBias: readonly (readonly [token: number, value: number])[];
  /** Absent: no log-probabilities; otherwise how many of the most probable tokens go with each. */
  readonly topLogprobs?: number;
  /** Log-probabilities of the prompt's own tokens too (`echo` with `logprobs`). Absent: no. */
  readonly promptLogprobs?: boolean;
  /** What the output is held to, as text of a grammar that the gateway has compiled. Absent: nothing. */
  readonly grammar?: string;
  /** The engine that `grammar` was compiled with: no other may decode under it. Present with `grammar`. */
  readonly grammarEngine?: string;
}

/** Everything that an attention worker needs to serve a request, or to take it over. */
export interface RequestRecord {
  readonly id: RequestId;
  readonly tenant: TenantId;
  /** Salts the prefix cache: requests of different salts never share pages. */
  readonly cacheSalt: string;
  /** 0 is the most urgent. Among equal ones tenants take turns by tokens, and those of one tenant are first come, first served. */
  readonly priority: number;
  readonly createdAtMs: number;
  /** The request ends with an error when it has not finished by then. */
  readonly deadlineAtMs: number;
  readonly promptTokens: Int32Array;
  readonly params: GenerationParams;
  /** Tokens of prompt and answer that it is expected to take, by which its tenant's turns are measured. Absent: estimated. */
  readonly expectedTokens?: number;
  /** The span that the request belongs to, as W3C `traceparent`. Absent: not traced. */
  readonly traceparent?: string;
}

export interface LoggedLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** One entry of a token log. Its index in the log is the token's index in the output. */
export interface LoggedToken {
  readonly token: number;
  readonly logprob?: number;
  readonly top?: readonly LoggedLogprob[];
}

export type FinishReason = "stop" | "length" | "cancelled" | "error";

/** The last entry of a token log. */
export interface Finish {
  readonly reason: FinishReason;
  /** For "error": a gRPC code name and a message without prompt or completion. */
  readonly error?: { readonly code: string; readonly message: string };
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  /** Milliseconds in the queue, in prefill and in decode, as the attention worker saw them. */
  readonly queueMs: number;
  readonly prefillMs: number;
  readonly decodeMs: number;
}

/** What a follower of a token log sees, in order, each index exactly once; `finish` is last. */
export type LogEvent =
  | { readonly kind: "tokens"; readonly start: number; readonly tokens: readonly LoggedToken[] }
  | { readonly kind: "finish"; readonly finish: Finish };

/** How far a request is. */
export interface RequestProgress {
  /** A worker holds it, or has written something. */
  readonly started: boolean;
  readonly finished: boolean;
  /** Present when it is finished. */
  readonly finish?: Finish;
}

/** The gateway's side. */
export interface RequestProducer {
  /**
   * Stores the record, then queues its job. Returns how many more the bound left room for; undefined when the answer to that was lost.
   * @throws AppError RESOURCE_EXHAUSTED with details.retryAfterMs when the queue is at its bound; UNAVAILABLE when Redis cannot be reached.
   */
  submit(record: RequestRecord): Promise<number | undefined>;
  /**
   * {@link submit} for a request that may be there already, from a submitter who has died, at whatever point: it is then left as it is, and
   * queued if it was not, and the room is not known. The log of the first submission counts.
   */
  resubmit(record: RequestRecord): Promise<number | undefined>;
  /** Follows a log from `fromIndex`, over Redis restarts and attention workers' deaths, until its end, or until the signal aborts (then it returns). */
  follow(id: RequestId, fromIndex: number, signal: AbortSignal): AsyncIterable<LogEvent>;
  /** Does not wait. Absent: there is no such request, or it has expired. @throws AppError UNAVAILABLE when Redis cannot be reached. */
  progress(id: RequestId): Promise<RequestProgress | undefined>;
  /** What {@link Claim.putPromptLogprobs} stored, one entry per prompt token; absent: nothing yet, or not asked for. */
  promptLogprobs(id: RequestId): Promise<readonly LoggedToken[] | undefined>;
  /** Ends a request wherever it is: waiting (its job is removed) or running (within one step). Idempotent. */
  cancel(id: RequestId): Promise<void>;
  /** Jobs waiting, and jobs being served. */
  depth(): Promise<{ readonly waiting: number; readonly active: number }>;
  /** Jobs waiting that are more urgent than `priority`: what a job of that priority should let pass. */
  moreUrgent(priority: number): Promise<number>;
  /** Jobs waiting, by tenant; of a queue of more than 4,096, those that come first. */
  waitingByTenant(): Promise<ReadonlyMap<string, number>>;
  /** Attention workers whose heartbeat is fresh. */
  workers(): Promise<readonly WorkerBeat[]>;
  /** Whether Redis answers. */
  ping(): Promise<boolean>;
  close(): Promise<void>;
}

/** What an attention worker tells gateways about itself, every second, in Redis, with a short life. */
export interface WorkerBeat {
  readonly workerId: string;
  readonly modelFingerprint: string;
  /** Longest prompt plus output that fits into its KV cache. */
  readonly maxContextTokens: number;
  readonly running: number;
  readonly waiting: number;
  readonly kvUsage: number;
  /** What it holds outputs to grammars with; absent: it cannot. */
  readonly grammarEngine?: string;
}

export type AppendOutcome =
  | "appended"
  /** Another worker holds a newer fence: drop the sequence, write nothing more. */
  | "fenced"
  /** The request was finished or cancelled meanwhile: drop the sequence. */
  | "closed";

/** Why a request with tokens in its log comes to a worker: its holder died or lost its lock, or gave it back. */
export type Resumption = "lost" | "released";

/** One request in an attention worker's hands. */
export interface Claim {
  readonly record: RequestRecord;
  /** Tokens that an earlier holder had already appended. Resume at index `log.length`. */
  readonly log: readonly LoggedToken[];
  /** Present when there are any. */
  readonly resumes?: Resumption;
  /** When this worker took the job. */
  readonly claimedAtMs: number;
  /**
   * Aborts when the request was cancelled, passed its deadline or was fenced off. The claim is over by then: whatever had to be
   * written has been, later calls change nothing, and only the sequence needs to be dropped.
   */
  readonly signal: AbortSignal;
  /**
   * Appends tokens at `start`. Idempotent: what the log already has is skipped. Waits while Redis is away (and refills what a
   * restarted Redis had lost); calls for one claim are applied in order.
   */
  append(start: number, tokens: readonly LoggedToken[]): Promise<AppendOutcome>;
  /**
   * Stores the prompt's log-probabilities, when `params.promptLogprobs` asks for them: one entry per prompt token (the first has no
   * `logprob`). Call it before the first token is appended. Idempotent.
   */
  putPromptLogprobs(entries: readonly LoggedToken[]): Promise<AppendOutcome>;
  /** Writes the end and completes the job. Waits while Redis is away. */
  finish(finish: Finish): Promise<AppendOutcome>;
  /** Gives the job back at once, so that another worker goes on from the log. */
  release(): Promise<void>;
}

/** The attention worker's side. */
export interface RequestConsumer {
  /** Begins to take jobs. `onClaim` is called for each and must not throw; the claim stays held until finish or release. */
  start(onClaim: (claim: Claim) => void): Promise<void>;
  /** Takes no more than so many claims at a time; 0 pauses. */
  setCapacity(claims: number): void;
  /** Tokens that were handed to `append` and are not yet in Redis. An engine pauses when it grows: memory is all that holds them. */
  backlogTokens(): number;
  beat(beat: WorkerBeat): Promise<void>;
  ping(): Promise<boolean>;
  /** Takes no new jobs, releases the claims that are still held, and disconnects. */
  close(): Promise<void>;
}
