/** Of ../k6-events, which is built into the k6 that runs these tests. */
declare module "k6/x/events" {
  export interface Request {
    readonly headers: Readonly<Record<string, string>>;
    readonly body: string;
    /** Of the whole answer. */
    readonly timeoutMs: number;
  }

  export interface Event {
    /** Empty when it is only a comment. */
    readonly data: string;
    /** Such as a server's keep-alive. */
    readonly isComment: boolean;
  }

  export interface Result {
    /** 0 without an answer. */
    readonly status: number;
    /** Why there was no answer, or why it broke off: `timeout`, or what the network said; empty when the server ended it. */
    readonly error: string;
  }

  /** Posts a request and gives each event of the answer as it comes; one that is answered with true hangs up. Blocks until the answer has ended. */
  export function readEvents(url: string, request: Request, onEvent: (event: Event) => boolean): Result;
}
