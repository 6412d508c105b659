import type { RequestId } from "@moiety/core";
import type { LogEvent, LoggedToken, RequestProducer } from "@moiety/queue";

type Source = Pick<RequestProducer, "submit" | "resubmit" | "cancel" | "follow">;

/**
 * Hands a log on one token at a time, and keeps what it handed on. How tokens were grouped on their way differs from reader to reader;
 * one at a time, they bring about the same events everywhere.
 */
export class TokenTape implements Source {
  readonly tokens: LoggedToken[] = [];
  readonly #source: Source;

  constructor(source: Source) {
    this.#source = source;
  }

  submit(...args: Parameters<Source["submit"]>): Promise<number | undefined> {
    return this.#source.submit(...args);
  }

  resubmit(...args: Parameters<Source["resubmit"]>): ReturnType<Source["resubmit"]> {
    return this.#source.resubmit(...args);
  }

  cancel(id: RequestId): Promise<void> {
    return this.#source.cancel(id);
  }

  async *follow(...args: Parameters<Source["follow"]>): AsyncGenerator<LogEvent> {
    for await (const event of this.#source.follow(...args)) {
      if (event.kind === "finish") yield event;
      else {
        for (const [offset, token] of event.tokens.entries()) {
          this.tokens.push(token);
          yield { kind: "tokens", start: event.start + offset, tokens: [token] };
        }
      }
    }
  }
}
