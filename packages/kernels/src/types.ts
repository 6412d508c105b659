import type { AttentionRefs, ExpertRefs, ModelConfig } from "@moiety/model";

/** An instruction-set level. All levels of one {@link Kernels.family} give the same bits. */
export type KernelLevel = "scalar" | "avx2" | "avx512" | "neon";

/**
 * The number format of activations: rows between operations, KV cache and rows on the wire. Sums are always f32. With int8 all of
 * these are bf16, and experts, whose weights must be MXFP4, quantise their rows in blocks of 32 to multiply them.
 */
export type Activation = "f32" | "bf16" | "int8";

export interface KernelsOptions {
  /** Absent: the best level that this CPU has. */
  readonly level?: KernelLevel;
  /** Compute threads of the one pool. */
  readonly threads: number;
}

/** The addon, opened: one thread pool, one first-in-first-out queue of operations. Every promise settles off the event loop's back. */
export interface Kernels {
  readonly level: KernelLevel;
  readonly threads: number;
  /** Processes of the same family give bit-identical results, whatever their level. That of f32 and bf16 activations. */
  readonly family: string;
  /** The family with these activations: int8 sums in another way. */
  familyOf(activation: Activation): string;
  /** Bytes of checkpoints that were read in so far: how far loading has come. */
  readonly readBytes: number;
  /** How long the operation that computes now has computed; 0 when none does. One that never ends is a fault of ours or of the machine. */
  readonly runningMs: number;
  createAttentionEngine(spec: AttentionEngineSpec): Promise<AttentionEngine>;
  createExpertEngine(spec: ExpertEngineSpec): ExpertEngine;
  /** Waits for queued operations, then ends the threads. Later calls reject. */
  close(): Promise<void>;
}

export interface KvPoolSpec {
  /** Positions per page. */
  readonly pageTokens: number;
  /** Pages for the full-attention layers; one page id stands for that page in every such layer. */
  readonly fullPages: number;
  /** Pages for the sliding-window layers. */
  readonly slidingPages: number;
}

export interface AttentionEngineSpec {
  readonly config: ModelConfig;
  readonly refs: AttentionRefs;
  readonly activation: Activation;
  readonly kv: KvPoolSpec;
}

/** Consecutive rows of a batch that belong to one sequence. */
export interface SequenceRows {
  readonly rowStart: number;
  readonly rowCount: number;
  /** Position of the first row; the others follow one by one. */
  readonly positionStart: number;
  /** Page of logical block i (positions `i*pageTokens ..`) in the full pool, from block 0, covering every row. */
  readonly fullPages: Int32Array;
  /** Page of logical block `slidingFirstBlock + i` in the sliding pool; covers every row and the window before the first. */
  readonly slidingPages: Int32Array;
  readonly slidingFirstBlock: number;
}

export interface BatchSpec {
  /** `[rows]` token ids. */
  readonly tokens: Int32Array;
  readonly sequences: readonly SequenceRows[];
}

/** The activations of the rows that go through the layers together. Its arrays are views of native memory, valid until `release`. */
export interface Batch {
  readonly rows: number;
  /** `[rows, hidden]` in the activation type, bf16 for int8: what experts receive; written by `attend`. */
  readonly normed: Uint8Array;
  /** `[rows, expertsPerToken]`, best first; written by `attend`. */
  readonly expertIds: Uint16Array;
  /** `[rows, expertsPerToken]`, softmax over the chosen; written by `attend`. */
  readonly expertWeights: Float32Array;
  /** `[rows, hidden]` f32 residual stream. */
  readonly residual: Float32Array;
  /** Frees the native memory. No operation may be pending. */
  release(): void;
}

/** Result rows of some (row, slot) pairs of a batch. */
export interface ExpertRowsPart {
  /** `[slots.length, hidden]` in the activation type. Not touched by the caller until the promise settles. */
  readonly rows: Uint8Array;
  /** Result row i belongs to batch row `floor(slots[i] / expertsPerToken)` and its choice `slots[i] % expertsPerToken`. */
  readonly slots: Uint32Array;
}

export interface SamplingParams {
  /** 0: greedy. */
  readonly temperature: number;
  /** 0: off. */
  readonly topK: number;
  /** 1: off. */
  readonly topP: number;
  /** 0: off. */
  readonly minP: number;
  /** 1: off; divides positive and multiplies negative logits of tokens seen in prompt or output. */
  readonly repetitionPenalty: number;
  /** 0: off; subtracted once for a token seen in the output. */
  readonly presencePenalty: number;
  /** 0: off; subtracted per occurrence in the output. */
  readonly frequencyPenalty: number;
  /** Key of the counter-based generator: 64 bits. */
  readonly seed: bigint;
}

export interface SampleRow {
  /** Row of the batch whose final hidden state is sampled. */
  readonly row: number;
  readonly params: SamplingParams;
  /** Counter of the generator: the index of the token being drawn within the request's output. */
  readonly counter: number;
  /** Tokens of the prompt; read only when a repetition penalty is on. */
  readonly promptTokens?: Int32Array;
  /** Tokens generated so far; read only when a penalty is on. */
  readonly outputTokens?: Int32Array;
  /** Added to the logits before everything else. */
  readonly bias?: { readonly ids: Int32Array; readonly values: Float32Array };
  /** Bit i of word floor(i/32) set: token i may be drawn. Absent: every token. */
  readonly allowed?: Uint32Array;
  /** How many of the most probable tokens to report beside the drawn one; absent: no log-probabilities at all. */
  readonly topLogprobs?: number;
}

export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** A drawn token; log-probabilities are of the model's own distribution (log-softmax of the raw logits). */
export interface Sample {
  readonly token: number;
  readonly logprob?: number;
  /** Most probable first. */
  readonly top?: readonly TokenLogprob[];
}

/** Weights and KV pages of one attention worker. Operations run in the order of the calls; none may overlap on one batch's data otherwise. */
export interface AttentionEngine {
  /** Bytes of mapped weights and of KV pools. */
  readonly weightsBytes: number;
  readonly kvBytes: number;
  createBatch(spec: BatchSpec): Batch;
  /** Layer 0 embeds first. Attention with KV write, residual, norm, and gating: fills `normed`, `expertIds`, `expertWeights`. */
  attend(batch: Batch, layer: number): Promise<void>;
  /** `residual += sum over choices of weight * row`, in choice order, in f32. The parts cover every (row, choice) exactly once. */
  combine(batch: Batch, parts: readonly ExpertRowsPart[]): Promise<void>;
  /** Final norm and unembedding of the given rows: `[rows.length, vocab]` f32. */
  logits(batch: Batch, rows: Int32Array): Promise<Float32Array>;
  /** Final norm, unembedding and sampling. A row whose logits are not finite rejects nothing else: its result is an Error. */
  sample(batch: Batch, rows: readonly SampleRow[]): Promise<readonly (Sample | Error)[]>;
  close(): void;
}

export interface ExpertEngineSpec {
  readonly config: ModelConfig;
  readonly activation: Activation;
}

/** Experts as a pure function of their inputs. */
export interface ExpertEngine {
  /**
   * Maps, checks (no NaN scale) and pages in the weights of one expert of one layer; with int8 activations, repacks them into memory
   * of the process. FAILED_PRECONDITION for bf16 weights with int8 activations.
   */
  load(refs: ExpertRefs): Promise<void>;
  /** After every operation that was submitted before. */
  unload(layer: number, expert: number): Promise<void>;
  holds(layer: number, expert: number): boolean;
  readonly residentBytes: number;
  /** Runs experts on rows; rejects with INVALID_ARGUMENT or FAILED_PRECONDITION before any compute when the call is wrong. */
  run(call: ExpertCall): Promise<void>;
}

export interface ExpertCall {
  readonly layer: number;
  /** Rows of one or several callers: `[count, hidden]` in the activation type, not necessarily aligned. */
  readonly inputs: readonly Uint8Array[];
  /** One entry per result row. */
  readonly pairs: {
    /** Which of `inputs`. */
    readonly input: Uint16Array;
    readonly row: Uint32Array;
    readonly expert: Uint16Array;
  };
  /** Result rows `[hidden]` go, in pair order, to these buffers; `output[i]` takes the next `length / rowBytes` pairs. */
  readonly outputs: readonly Uint8Array[];
}
