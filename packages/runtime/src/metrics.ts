import { collectDefaultMetrics, Registry } from "prom-client";

/** A registry with Node's own metrics (event-loop delay, memory, GC) and constant labels. */
export function createRegistry(labels: Readonly<Record<string, string>>): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ ...labels });
  collectDefaultMetrics({ register: registry });
  return registry;
}
