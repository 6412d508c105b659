import { deferred } from "@moiety/core";

interface Arrival<T> {
  readonly source: AsyncIterator<T>;
  readonly result: IteratorResult<T>;
}

/** Whatever comes first of several sources. Each is asked for its next item only when the one before was taken: nothing piles up. */
export async function* mergeAsync<T>(sources: readonly AsyncIterable<T>[]): AsyncGenerator<T> {
  const arrivals: Arrival<T>[] = [];
  const failures: unknown[] = [];
  let wake = deferred<void>();
  let open = sources.length;
  const ask = (source: AsyncIterator<T>) => {
    source.next().then(
      (result) => {
        arrivals.push({ source, result });
        wake.resolve();
      },
      (error: unknown) => {
        failures.push(error);
        wake.resolve();
      },
    );
  };
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  for (const iterator of iterators) ask(iterator);
  try {
    while (open > 0) {
      if (failures.length > 0) throw failures[0];
      const arrival = arrivals.shift();
      if (!arrival) {
        await wake.promise;
        wake = deferred<void>();
        continue;
      }
      if (arrival.result.done) {
        open -= 1;
        continue;
      }
      yield arrival.result.value;
      ask(arrival.source);
    }
  } finally {
    // Not awaited: a source may be waiting for something that only its own signal ends.
    for (const iterator of iterators) void iterator.return?.(undefined)?.catch(() => undefined);
  }
}
