import { randomBytes } from "node:crypto";
import { type ClientReadableStream, Metadata } from "@grpc/grpc-js";
import { type Clock, invariant, type WorkerId } from "@moiety/core";
import {
  type DispatchStream,
  ExpertRowClient,
  type ModelIdentity,
  type ResultRows,
  type RowClient,
  rowBytesOf,
  type Subscribe,
} from "@moiety/proto";
import { dataChannelOptions, type Transport } from "@moiety/runtime";
import type { DispatchServer } from "./dispatch-server.js";
import type { ExpertPoolObserver } from "./expert-pool-observer.js";
import { type LinkEvent, type LinkState, transition } from "./link-state.js";
import { type CallOutcome, type LinkCall, type OutstandingCall, outcomeOf } from "./outstanding-calls.js";

export interface LinkOptions {
  readonly workerId: WorkerId;
  /** host:port or unix:path of the expert worker's data-plane server. */
  readonly address: string;
  /** This process, and where it serves its half. */
  readonly selfId: WorkerId;
  readonly selfAddress: string;
  readonly model: ModelIdentity;
  readonly server: DispatchServer;
  readonly transport: Transport;
  /** Rows on their way and expected back, in bytes; one call may exceed it, if it is the only one. */
  readonly maxOutstandingBytes: number;
  /** Calls that may wait for room. */
  readonly maxWaitingCalls: number;
  readonly openTimeoutMs: number;
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly observer: ExpertPoolObserver;
  /** The link went up, or is up no longer. */
  readonly onChange: () => void;
}

/** What is open of one opening. */
interface Halves {
  readonly client: RowClient<ResultRows>;
  readonly results: ClientReadableStream<ResultRows>;
  readonly timer: AbortController;
  readonly withdraw: () => void;
  dispatches?: DispatchStream;
}

/** The two streams between this process and one expert worker, reopened for ever, and the calls on them. */
export class Link {
  readonly workerId: WorkerId;
  readonly address: string;
  readonly #options: LinkOptions;
  readonly #rowBytes: number;
  readonly #sent = new Map<number, OutstandingCall>();
  #waiting: OutstandingCall[] = [];
  readonly #closing = new AbortController();
  #state: LinkState = { kind: "waiting", attempt: 0, delayMs: 0, reason: "not opened yet" };
  #halves: Halves | undefined;
  #nextCallId = 1;
  #sentBytes = 0;
  #outstandingRows = 0;
  /** A message is being written. The next one waits: its rows are copied when it is written, and may have been let go of before. */
  #writing = false;

  constructor(options: LinkOptions) {
    this.workerId = options.workerId;
    this.address = options.address;
    this.#options = options;
    this.#rowBytes = rowBytesOf(options.model);
    this.#apply({ kind: "due", linkId: newLinkId() });
  }

  get state(): LinkState {
    return this.#state;
  }

  get up(): boolean {
    return this.#state.kind === "up";
  }

  /** Rows sent or waiting, not answered yet. */
  get outstandingRows(): number {
    return this.#outstandingRows;
  }

  /** Sends a call, at once if there is room. A link that is not up loses it at once. Absent: the call is settled already. */
  send(call: LinkCall): OutstandingCall | undefined {
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      call.settle(refusal);
      return undefined;
    }
    const { rows, slots } = call.dispatch;
    const bytes = (rows.length + slots.length) * this.#rowBytes;
    const sent: OutstandingCall = { call, callId: this.#takeCallId(), bytes, encodeUs: 0 };
    this.#waiting.push(sent);
    this.#outstandingRows += rows.length;
    this.#pump();
    return sent;
  }

  /** Forgets a call, unsettled: an answer that still comes is ignored. */
  abandon(sent: OutstandingCall): void {
    if (this.#sent.get(sent.callId) === sent) this.#forget(sent);
    else if (this.#waiting.includes(sent)) {
      this.#waiting = this.#waiting.filter((waiting) => waiting !== sent);
      this.#outstandingRows -= sent.call.dispatch.rows.length;
    } else return;
    this.#pump();
  }

  /** Lets go of everything; outstanding calls are lost. */
  close(): void {
    this.#apply({ kind: "close" });
    this.#closing.abort();
  }

  #apply(event: LinkEvent): void {
    const before = this.#state;
    const after = transition(before, event);
    if (after === before) return;
    this.#state = after;
    if (after.kind === "opening" && before.kind !== "opening") this.#open(after.linkId);
    if (after.kind === "up") this.#halves?.timer.abort();
    if (after.kind === "waiting" || after.kind === "closed") {
      this.#release(after.kind === "waiting" ? after.reason : "the link was closed");
    }
    if (after.kind === "waiting") this.#reopenAfter(after.delayMs);
    if (after.kind === before.kind) return;
    const { observer, workerId, address } = this.#options;
    observer.linkChanged({ workerId, address, state: after.kind, ...(after.kind === "waiting" && { reason: after.reason }) });
    if (before.kind === "up" || after.kind === "up") this.#options.onChange();
  }

  #fail(linkId: string, reason: string): void {
    this.#apply({ kind: "failed", linkId, reason, random: this.#options.random() });
  }

  #reopenAfter(delayMs: number): void {
    this.#options.clock.sleep(delayMs, this.#closing.signal).then(
      () => this.#apply({ kind: "due", linkId: newLinkId() }),
      () => {},
    );
  }

  #open(linkId: string): void {
    const { selfId, selfAddress, model, server, address, clock, openTimeoutMs } = this.#options;
    const withdraw = server.expect(linkId, (stream) => this.#acceptDispatches(linkId, stream));
    const { transport } = this.#options;
    const client = new ExpertRowClient(address, transport.clientCredentials(), {
      ...dataChannelOptions,
      ...transport.channelOptions,
    });
    const request: Subscribe = { linkId, subscriberId: selfId, subscriberAddress: selfAddress, model };
    const results = client.pull(request);
    results.on("metadata", () => this.#apply({ kind: "half-open", linkId, half: "results" }));
    results.on("data", (answer: ResultRows) => this.#receive(linkId, answer));
    results.on("end", () => this.#fail(linkId, "the worker ended the stream of results"));
    results.on("error", (error) => this.#fail(linkId, error.message));
    const timer = new AbortController();
    clock.sleep(openTimeoutMs, timer.signal).then(
      () => this.#fail(linkId, `not open after ${openTimeoutMs} ms`),
      () => {},
    );
    this.#halves = { client, results, timer, withdraw };
  }

  #acceptDispatches(linkId: string, stream: DispatchStream): void {
    const halves = this.#halves;
    invariant(halves !== undefined, "an expected stream belongs to an opening");
    halves.dispatches = stream;
    stream.on("cancelled", () => this.#fail(linkId, "the worker let go of the stream of calls"));
    stream.on("error", (error) => this.#fail(linkId, error.message));
    stream.sendMetadata(new Metadata());
    this.#apply({ kind: "half-open", linkId, half: "dispatches" });
  }

  /** Closes both halves and loses every outstanding call. */
  #release(reason: string): void {
    const halves = this.#halves;
    this.#halves = undefined;
    this.#writing = false;
    halves?.timer.abort();
    halves?.withdraw();
    halves?.results.cancel();
    halves?.dispatches?.end();
    halves?.client.close();
    const lost = [...this.#sent.values(), ...this.#waiting];
    this.#waiting = [];
    this.#sent.clear();
    this.#sentBytes = 0;
    this.#outstandingRows = 0;
    for (const { call } of lost) call.settle({ kind: "lost", reason });
  }

  #refusal(): CallOutcome | undefined {
    if (!this.up) return { kind: "lost", reason: "the link is down" };
    if (this.#waiting.length < this.#options.maxWaitingCalls) return undefined;
    return { kind: "refused", code: "RESOURCE_EXHAUSTED", message: "too many calls wait for this link", epoch: 0 };
  }

  /** Sends what waits, as far as the bound and the stream allow. */
  #pump(): void {
    const stream = this.#halves?.dispatches;
    if (!this.up || stream === undefined || this.#writing) return;
    const next = this.#waiting[0];
    if (next === undefined) return;
    if (this.#sentBytes > 0 && this.#sentBytes + next.bytes > this.#options.maxOutstandingBytes) return;
    this.#waiting.shift();
    this.#sent.set(next.callId, next);
    this.#sentBytes += next.bytes;
    this.#write(stream, next);
  }

  #write(stream: DispatchStream, sent: OutstandingCall): void {
    const { clock } = this.#options;
    const { epoch, layer, dispatch, source, traceContext } = sent.call;
    const { rows, pairRows, experts } = dispatch;
    const startMs = clock.monotonicMs();
    const content = { source, rowBytes: this.#rowBytes, rows, pairRows, experts, traceContext };
    this.#writing = true;
    stream.write({ header: { callId: sent.callId, epoch, layer }, content }, () => {
      if (this.#halves?.dispatches !== stream) return;
      this.#writing = false;
      this.#pump();
    });
    sent.sentMs = clock.monotonicMs();
    sent.encodeUs = (sent.sentMs - startMs) * 1_000;
  }

  #receive(linkId: string, answer: ResultRows): void {
    if (this.#state.kind !== "up" || this.#state.linkId !== linkId) return;
    const sent = this.#sent.get(answer.callId);
    if (sent === undefined) {
      this.#options.observer.ignored({ workerId: this.workerId });
      return;
    }
    this.#forget(sent);
    this.#pump();
    sent.call.settle(outcomeOf(sent, answer, { nowMs: this.#options.clock.monotonicMs(), rowBytes: this.#rowBytes }));
  }

  #forget(sent: OutstandingCall): void {
    this.#sent.delete(sent.callId);
    this.#sentBytes -= sent.bytes;
    this.#outstandingRows -= sent.call.dispatch.rows.length;
  }

  /** 32 bits, never one that is still in use. */
  #takeCallId(): number {
    const callId = this.#nextCallId;
    this.#nextCallId = callId === 0xffff_ffff ? 1 : callId + 1;
    return this.#sent.has(callId) ? this.#takeCallId() : callId;
  }
}

function newLinkId(): string {
  return randomBytes(12).toString("hex");
}
