/** What ends when its caller's signal aborts. */
export interface Abortable {
  abort(reason: unknown): void;
}

/** One listener for each signal, however many layers are run under it: adding and removing one costs microseconds. */
export class AbortWatch {
  readonly #watched = new WeakMap<AbortSignal, Set<Abortable>>();

  /** To be deleted when it is over. A signal that has aborted already aborts it at once. */
  add(signal: AbortSignal, item: Abortable): void {
    const items = this.#watched.get(signal);
    if (signal.aborted) item.abort(signal.reason);
    else if (items === undefined) this.#listen(signal, new Set([item]));
    else items.add(item);
  }

  delete(signal: AbortSignal, item: Abortable): void {
    this.#watched.get(signal)?.delete(item);
  }

  #listen(signal: AbortSignal, items: Set<Abortable>): void {
    this.#watched.set(signal, items);
    const abort = () => {
      for (const item of [...items]) item.abort(signal.reason);
      items.clear();
    };
    signal.addEventListener("abort", abort, { once: true });
  }
}
