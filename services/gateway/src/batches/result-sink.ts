import { AppError } from "@moiety/core";
import type { BatchClaim, Ledgers, LineResult } from "@moiety/queue";
import type { GatewayContext } from "../gateway-context.js";
import { claimLost } from "./batch-records.js";
import { markResult, type ResultFiles } from "./result-files.js";

/** Results that may gather in Redis before they are sealed: their number, and their length. */
const SEAL_COUNT = 256;
const SEAL_LENGTH = 4_194_304;

interface ResultSinkOptions {
  readonly context: GatewayContext;
  readonly ledgers: Ledgers;
  readonly claim: BatchClaim;
}

/** Where results go: into the ledger, and from there into segments, one at a time. */
export class ResultSink {
  readonly #options: ResultSinkOptions;
  readonly #files: ResultFiles;
  readonly #onFault: (error: AppError) => void;
  #length = 0;
  #sealing: Promise<void> | undefined;

  constructor(options: ResultSinkOptions, ends: { readonly files: ResultFiles; readonly onFault: (error: AppError) => void }) {
    this.#options = options;
    this.#files = ends.files;
    this.#onFault = ends.onFault;
  }

  async take(result: LineResult): Promise<void> {
    const { ledgers, claim, context } = this.#options;
    const { outcome, unsealed } = await ledgers.batches.record(claim, markResult(result));
    if (outcome === "fenced" || outcome === "gone") return this.fail(claimLost());
    if (outcome !== "recorded") return;
    context.metrics.batchLineEnded(result.outcome);
    this.#length += result.text.length;
    if (unsealed < SEAL_COUNT && this.#length < SEAL_LENGTH) return;
    this.#sealing ??= this.#seal();
    await this.#sealing;
  }

  fail(error: AppError): void {
    this.#onFault(error);
  }

  async settled(): Promise<void> {
    await this.#sealing;
  }

  async #seal(): Promise<void> {
    this.#length = 0;
    try {
      if (!(await this.#files.seal())) this.fail(claimLost());
    } catch (error) {
      this.fail(AppError.from(error));
    } finally {
      this.#sealing = undefined;
    }
  }
}
