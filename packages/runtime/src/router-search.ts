import { AppError } from "@moiety/core";
import { findRouterTargets, type RouterTarget } from "./router-targets.js";

/** How a session went. */
export interface Conversation {
  /** Whether a router welcomed the worker. */
  readonly joined: boolean;
  readonly error: AppError | undefined;
}

export interface RouterSearchOptions {
  readonly routerAddress: string;
  /** Ends the search between two places. */
  readonly signal: AbortSignal;
  /** Tries one place, and stays there for as long as it is welcome. Must not throw. */
  readonly converse: (target: RouterTarget, about: { readonly isOnly: boolean }) => Promise<Conversation>;
}

/** Looks for the router that leads among all places where one may be. */
export class RouterSearch {
  readonly #options: RouterSearchOptions;
  /** Where the last welcome was: the next round begins after it. */
  #last = "";

  constructor(options: RouterSearchOptions) {
    this.#options = options;
  }

  /** Tries every place until one welcomes the worker, and then waits for the end of that. Names are looked up anew in each round. */
  async round(): Promise<Conversation & { readonly targets: number }> {
    const { routerAddress, signal, converse } = this.#options;
    let found: readonly RouterTarget[];
    try {
      found = await findRouterTargets(routerAddress);
    } catch (error) {
      return { joined: false, error: AppError.from(error), targets: 0 };
    }
    const targets = found.length;
    const after = found.findIndex(({ address }) => address === this.#last) + 1;
    let error: AppError | undefined;
    for (const target of [...found.slice(after), ...found.slice(0, after)]) {
      if (signal.aborted) break;
      const outcome = await converse(target, { isOnly: targets === 1 });
      if (outcome.joined) {
        this.#last = target.address;
        return { ...outcome, targets };
      }
      // What a leader says of this worker tells more than that others are standbys or away.
      if (error === undefined || error.code === "UNAVAILABLE") error = outcome.error;
    }
    return { joined: false, error, targets };
  }
}
