import { type ClientReadableStream, Metadata } from "@grpc/grpc-js";
import { AppError, type Clock, ERROR_CODES, type ErrorCode } from "@moiety/core";
import {
  AttentionRowClient,
  type DispatchRows,
  type ModelIdentity,
  type OutgoingResult,
  type ResultStream,
  type RowClient,
  type Subscribe,
} from "@moiety/proto";
import { dataChannelOptions, type Transport } from "@moiety/runtime";
import type { CallOwner } from "../calls/call.js";

export interface ExpertLinkOptions {
  /** The attention worker's subscription, already checked. */
  readonly results: ResultStream;
  readonly selfId: string;
  readonly selfAddress: string;
  readonly model: ModelIdentity;
  readonly openTimeoutMs: number;
  readonly transport: Transport;
  readonly clock: Clock;
  onCall(link: ExpertLink, call: DispatchRows): void;
  /** Once. */
  onClose(link: ExpertLink, reason: string): void;
}

/**
 * One attention worker's two streams: it pulls results here, and this process pulls calls there. The first byte of results is
 * sent when both are open. Either stream's end ends the other.
 */
export class ExpertLink implements CallOwner {
  readonly subscriberId: string;
  readonly linkId: string;
  readonly #options: ExpertLinkOptions;
  readonly #client: RowClient<DispatchRows>;
  readonly #dispatches: ClientReadableStream<DispatchRows>;
  readonly #opening = new AbortController();
  #closed = false;

  constructor(options: ExpertLinkOptions) {
    const { results, selfId, selfAddress, model, clock, openTimeoutMs } = options;
    const { linkId, subscriberId, subscriberAddress } = results.request;
    this.#options = options;
    this.linkId = linkId;
    this.subscriberId = subscriberId;
    results.on("cancelled", () => this.close("the attention worker let go of the stream of results"));
    results.on("error", (error) => this.close(error.message));
    results.on("drain", () => this.#dispatches.resume());
    const { transport } = options;
    const channelOptions = { ...dataChannelOptions, ...transport.channelOptions };
    this.#client = new AttentionRowClient(subscriberAddress, transport.clientCredentials(), channelOptions);
    const request: Subscribe = { linkId, subscriberId: selfId, subscriberAddress: selfAddress, model };
    this.#dispatches = this.#client.pull(request);
    this.#dispatches.on("metadata", () => this.#confirm());
    this.#dispatches.on("data", (call: DispatchRows) => this.#receive(call));
    this.#dispatches.on("end", () => this.close("the attention worker ended the stream of calls"));
    this.#dispatches.on("error", (error) => this.close(`the stream of calls failed: ${error.message}`, "UNAVAILABLE"));
    clock.sleep(openTimeoutMs, this.#opening.signal).then(
      () => this.close(`the stream of calls was not open after ${openTimeoutMs} ms`, "UNAVAILABLE"),
      () => {},
    );
  }

  /** A reader that is slower than its own calls gets no more of them until it has caught up. */
  answer(result: OutgoingResult): void {
    if (this.#closed) return;
    const taken = () => {
      if (result.kind === "rows") result.frame.release();
    };
    if (!this.#options.results.write(result, taken)) this.#dispatches.pause();
  }

  /** Lets go of both streams. With a code, the attention worker hears why. */
  close(reason: string, code?: ErrorCode): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#opening.abort();
    this.#dispatches.cancel();
    this.#client.close();
    if (code === undefined) this.#options.results.end();
    else refuse(this.#options.results, code, reason);
    this.#options.onClose(this, reason);
  }

  #confirm(): void {
    if (this.#closed) return;
    this.#opening.abort();
    this.#options.results.sendMetadata(new Metadata());
  }

  #receive(call: DispatchRows): void {
    if (!this.#closed) this.#options.onCall(this, call);
  }
}

/** Ends a subscription with a status. */
export function refuse(stream: ResultStream, code: ErrorCode, message: string): void {
  stream.emit("error", Object.assign(new AppError(code, message), { code: ERROR_CODES[code], details: message }));
}
