import { AppError, type Clock } from "@moiety/core";
import { type DispatchRows, type ExpertRowServer, identityMismatch, type ModelIdentity, type ResultStream } from "@moiety/proto";
import { type Logger, parseAddress, type Transport } from "@moiety/runtime";
import { ExpertLink, refuse } from "./expert-link.js";

export interface LinkServiceOptions {
  readonly selfId: string;
  readonly model: ModelIdentity;
  /** Where attention workers reach this process; known once the port is bound. */
  readonly selfAddress: () => string;
  readonly maxLinks: number;
  readonly openTimeoutMs: number;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly logger: Logger;
  onCall(link: ExpertLink, call: DispatchRows): void;
  onClose(link: ExpertLink): void;
}

const LINK_ID = /^[A-Za-z0-9._-]{1,64}$/;
const SUBSCRIBER_ID = /^[A-Za-z0-9._:-]{1,128}$/;

/** The attention workers that are linked to this process. Serves ExpertService. */
export class LinkService {
  readonly #options: LinkServiceOptions;
  readonly #links = new Set<ExpertLink>();
  #leaving = false;

  constructor(options: LinkServiceOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#links.size;
  }

  readonly implementation: ExpertRowServer = {
    pull: (stream) => {
      try {
        this.#accept(stream);
      } catch (error) {
        const { code, message } = AppError.from(error);
        this.#options.logger.warn({ code, reason: message, peer: stream.getPeer() }, "refused a link");
        refuse(stream, code, message);
      }
    },
  };

  /** Takes no more links; those that are open stay. */
  refuseNew(): void {
    this.#leaving = true;
  }

  close(): void {
    this.refuseNew();
    for (const link of [...this.#links]) link.close("the expert worker is leaving", "UNAVAILABLE");
  }

  #accept(stream: ResultStream): void {
    this.#check(stream);
    const { selfId, selfAddress, model, openTimeoutMs, transport, clock, logger, onCall } = this.#options;
    const { linkId, subscriberId } = stream.request;
    const link = new ExpertLink({
      results: stream,
      selfId,
      selfAddress: selfAddress(),
      model,
      openTimeoutMs,
      transport,
      clock,
      onCall,
      onClose: (closed, reason) => {
        this.#links.delete(closed);
        logger.info({ subscriberId, linkId, reason }, "link closed");
        this.#options.onClose(closed);
      },
    });
    this.#links.add(link);
    logger.info({ subscriberId, linkId }, "link accepted");
  }

  #check(stream: ResultStream): void {
    const { linkId, subscriberId, subscriberAddress, model } = stream.request;
    const invalid = (message: string) => new AppError("INVALID_ARGUMENT", message);
    if (!LINK_ID.test(linkId)) throw invalid("link_id: expected 1 to 64 letters, digits, dots, dashes or underscores");
    if (!SUBSCRIBER_ID.test(subscriberId)) throw invalid("subscriber_id: expected a worker id of at most 128 characters");
    parseAddress(subscriberAddress);
    const mismatch = identityMismatch(this.#options.model, model);
    if (mismatch !== undefined) throw new AppError("FAILED_PRECONDITION", mismatch);
    if (this.#leaving) throw new AppError("UNAVAILABLE", "the expert worker is leaving");
    if (this.#links.size >= this.#options.maxLinks) {
      throw new AppError("RESOURCE_EXHAUSTED", `no more than ${this.#options.maxLinks} links are accepted`);
    }
    for (const link of this.#links) if (link.linkId === linkId) throw new AppError("ALREADY_EXISTS", "link_id: already in use");
  }
}
