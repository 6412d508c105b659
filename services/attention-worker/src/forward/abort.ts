/** Who wants to hear of a signal's end. One listener each: adding and removing one for every step costs more than the step's scheduling. */
const WATCHERS = new WeakMap<AbortSignal, Set<() => void>>();

function watchersOf(signal: AbortSignal): Set<() => void> {
  const known = WATCHERS.get(signal);
  if (known !== undefined) return known;
  const watchers = new Set<() => void>();
  WATCHERS.set(signal, watchers);
  const tell = () => {
    for (const watcher of watchers) watcher();
  };
  signal.addEventListener("abort", tell, { once: true });
  return watchers;
}

/** A signal that aborts when every one of `signals` has; `dispose` stops listening. */
export function whenAllAborted(signals: readonly AbortSignal[]): { readonly signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const check = () => {
    if (signals.every((signal) => signal.aborted)) controller.abort();
  };
  const watched = signals.map(watchersOf);
  for (const watchers of watched) watchers.add(check);
  check();
  return {
    signal: controller.signal,
    dispose: () => {
      for (const watchers of watched) watchers.delete(check);
    },
  };
}
