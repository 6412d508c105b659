import { AppError } from "@moiety/core";
import { type BatchClaim, type Ledgers, parseFileId } from "@moiety/queue";
import type { FileStore } from "../files/file-store.js";
import type { GatewayContext } from "../gateway-context.js";
import { Aside } from "./aside.js";
import { BATCH_ENDPOINTS } from "./batch-endpoints.js";
import { applyEvent, type Batch, claimLost, findBatch } from "./batch-records.js";
import { isEnded, startOfBatch } from "./batch-state.js";
import { HeldSlot } from "./held-slot.js";
import { InputCheck, type InputLine, isFault, parseInputLine } from "./input-line.js";
import { LineHalt } from "./line-halt.js";
import { choicesOf, type LineBatch } from "./line-request.js";
import { unfinishedLine } from "./line-result.js";
import type { LineSlots } from "./line-slots.js";
import { type FileLine, readLinesInPages } from "./read-lines.js";
import { ResultFiles, readUpload, removeSegments } from "./result-files.js";
import { ResultSink } from "./result-sink.js";
import { type LineTurn, runLine } from "./run-line.js";

export interface BatchRunOptions {
  readonly context: GatewayContext;
  readonly ledgers: Ledgers;
  readonly store: FileStore;
  readonly slots: LineSlots;
  readonly claim: BatchClaim;
  /** Aborts when this gateway is to let go of the batch: its lines are left running for whoever takes it over. */
  readonly leave: AbortSignal;
}

/** What a line may have around its body. */
const ENVELOPE_BYTES = 65_536;

/** One batch in the hands of this gateway. Whatever it does can be broken off anywhere and done again by another. */
export class BatchRun {
  readonly #options: BatchRunOptions;
  /** Aborts what goes on when the batch was changed by somebody else. */
  #phase = new AbortController();
  #version = 0;

  constructor(options: BatchRunOptions) {
    this.#options = options;
  }

  /** The version that the claim's keeper saw last: a newer one than this run knows breaks off what it does. */
  onVersion(version: number): void {
    if (version > this.#version) this.#phase.abort(new AppError("ABORTED", "the batch was changed"));
  }

  /** Works until the batch has ended. @throws the reason of `leave`; AppError ABORTED when the claim is lost, or whatever went wrong. */
  async work(): Promise<void> {
    const { ledgers, claim, leave, store, context } = this.#options;
    for (;;) {
      leave.throwIfAborted();
      this.#phase = new AbortController();
      const batch = await findBatch(ledgers.batches, claim.id);
      if (batch === undefined) throw claimLost();
      this.#version = batch.version;
      const { state } = batch.document;
      if (isEnded(state)) {
        context.metrics.batchEnded(state.status);
        context.logger.info({ batch: batch.id, status: state.status, ...countsOf(batch) }, "a batch has ended");
        await removeSegments(store, batch.id);
        await ledgers.batches.forgetLitter(batch.id);
        return;
      }
      const phase = this.#phase.signal;
      try {
        await this.#advance(batch, phase);
      } catch (error) {
        if (!phase.aborted || leave.aborted) throw error;
      }
    }
  }

  async #advance(batch: Batch, phase: AbortSignal): Promise<void> {
    const breakOff = AbortSignal.any([phase, this.#options.leave]);
    switch (batch.document.state.status) {
      case "validating":
        return this.#validate(batch, breakOff);
      case "in_progress":
        return this.#runLines(batch, phase);
      default:
        return this.#writeFiles(batch, breakOff);
    }
  }

  async #validate(batch: Batch, phase: AbortSignal): Promise<void> {
    const { context, ledgers, claim } = this.#options;
    const { expiresAtMs, endpoint, model } = batch.document;
    if (context.clock.nowMs() >= expiresAtMs) return this.#apply({ kind: "expire" });
    const check = new InputCheck({ endpoint, model }, context.config.MOIETY_MAX_BATCH_LINES);
    for await (const line of this.#inputLines(batch)) {
      phase.throwIfAborted();
      if (!check.take(line)) break;
    }
    const verdict = check.end();
    const atMs = context.clock.nowMs();
    await applyEvent(
      ledgers.batches,
      claim.id,
      "total" in verdict ? { kind: "validated", ...verdict, atMs } : { kind: "faulty", ...verdict, atMs },
      claim,
    );
  }

  async #runLines(batch: Batch, phase: AbortSignal): Promise<void> {
    const { context, slots, leave, ledgers, claim } = this.#options;
    const { expiresAtMs } = batch.document;
    const halt = new LineHalt({ cancelOn: phase, leaveOn: leave, clock: context.clock, expiresAtMs });
    const sink = new ResultSink(this.#options, { files: this.#resultFiles(batch), onFault: (error) => halt.leave(error) });
    const running = new Set<Promise<void>>();
    const aside = new Aside();
    try {
      const lineBatch = lineBatchOf(batch);
      const isDone = await ledgers.batches.doneLines(claim.id);
      for await (const line of this.#requests(batch)) {
        if (isDone(line.line)) continue;
        await aside.clear();
        const slot = await HeldSlot.take(() => slots.take(halt.signal, choicesOf(line.body)));
        const stepAside = (ms: number) => aside.during(() => slot.leaveFor(() => context.clock.sleep(ms, halt.signal)));
        const run = this.#runOne(lineBatch, line, { signals: halt.signals, sink, stepAside }).finally(() => {
          slot.release();
          running.delete(run);
        });
        running.add(run);
      }
      await Promise.all(running);
      halt.signal.throwIfAborted();
      await this.#apply({ kind: "recorded" });
    } catch (error) {
      halt.leave(AppError.from(error));
      await Promise.all(running);
      if (leave.aborted || context.clock.nowMs() < expiresAtMs) throw error;
      await this.#apply({ kind: "expire" });
    } finally {
      halt.end();
      await sink.settled();
    }
  }

  /** Never throws: what goes wrong is told to the sink, which ends all lines. */
  async #runOne(batch: LineBatch, line: InputLine, { sink, ...turn }: LineTurn & { readonly sink: ResultSink }): Promise<void> {
    const { context } = this.#options;
    context.metrics.batchLineRuns(1);
    try {
      const result = await runLine(context, batch, line, turn);
      if (result !== undefined) await sink.take(result);
    } catch (error) {
      sink.fail(AppError.from(error));
    } finally {
      context.metrics.batchLineRuns(-1);
    }
  }

  async #writeFiles(batch: Batch, phase: AbortSignal): Promise<void> {
    const { state } = batch.document;
    const files = this.#resultFiles(batch);
    const why = state.status === "cancelling" ? "cancelled" : "expired";
    const unfinished = (startOfBatch(state)?.total ?? 0) - batch.completed - batch.failed;
    const outputFileId = batch.completed > 0 ? await files.write("output") : undefined;
    phase.throwIfAborted();
    const more = unfinished > 0 ? this.#unfinished(batch, why) : undefined;
    const errorFileId = batch.failed + unfinished > 0 ? await files.write("error", more) : undefined;
    await this.#apply({
      kind: "filed",
      results: {
        unfinished,
        ...(outputFileId === undefined ? {} : { outputFileId }),
        ...(errorFileId === undefined ? {} : { errorFileId }),
      },
    });
  }

  async *#unfinished(batch: Batch, why: "expired" | "cancelled"): AsyncGenerator<string> {
    const { ledgers, context } = this.#options;
    const isDone = await ledgers.batches.doneLines(batch.id);
    try {
      for await (const line of this.#requests(batch)) if (!isDone(line.line)) yield `${unfinishedLine(batch.id, line, why)}\n`;
    } catch (error) {
      // Without its input a batch that is given up has nothing to say of the lines that are left, and must end all the same.
      if (AppError.from(error).code !== "DATA_LOSS") throw error;
      context.logger.error({ err: error, batch: batch.id }, "the input of a batch is lost");
    }
  }

  #inputLines({ document }: Batch): AsyncIterable<FileLine> {
    const { store, context } = this.#options;
    const open = (fromByte: number) => readUpload(store, parseFileId(document.inputFileId), fromByte);
    return readLinesInPages(open, { maxBytes: context.config.MOIETY_MAX_BODY_BYTES + ENVELOPE_BYTES });
  }

  /** The lines of an input that was found in order. */
  async *#requests(batch: Batch): AsyncGenerator<InputLine> {
    for await (const line of this.#inputLines(batch)) {
      const request = parseInputLine(line, batch.document);
      if (!isFault(request)) yield request;
      else throw new AppError("DATA_LOSS", "a checked input has changed", { details: { batch: batch.id, line: line.number } });
    }
  }

  #resultFiles({ tenant, document }: Batch): ResultFiles {
    const { ledgers, store, claim, context } = this.#options;
    return new ResultFiles({ ledgers, store, claim, tenant, clock: context.clock, outputLifeMs: document.outputLifeMs });
  }

  async #apply(
    event:
      | { kind: "recorded" | "expire" }
      | { kind: "filed"; results: { unfinished: number; outputFileId?: string; errorFileId?: string } },
  ): Promise<void> {
    const { ledgers, claim, context } = this.#options;
    await applyEvent(ledgers.batches, claim.id, { ...event, atMs: context.clock.nowMs() }, claim);
  }
}

const countsOf = ({ completed, failed }: Batch) => ({ completed, failed });

function lineBatchOf({ id, tenant, document }: Batch): LineBatch {
  const endpoint = BATCH_ENDPOINTS.get(document.endpoint);
  if (endpoint === undefined) {
    throw new AppError("UNIMPLEMENTED", "this gateway does not know the endpoint of the batch", { details: { batch: id } });
  }
  const startedAtMs = startOfBatch(document.state)?.startedAtMs ?? document.createdAtMs;
  return {
    id,
    caller: { tenant, keyId: document.keyId ?? "batch" },
    path: document.endpoint,
    endpoint,
    startedAtMs,
    expiresAtMs: document.expiresAtMs,
  };
}
