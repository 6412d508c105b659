import { median } from "../quantiles.js";

const SEQUENCES = 64;
const PAGES = 128;
const ROUNDS = 400;

/**
 * Milliseconds of JavaScript of the kind that an engine's step is made of (maps, arrays, typed arrays, small objects), to measure a step
 * against: both change alike with the machine. Never to be changed without measuring the bounds anew.
 */
export function yardstickMs(): number {
  const times: number[] = [];
  const tables = new Int32Array(SEQUENCES * PAGES);
  let kept = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const startMs = performance.now();
    kept += work(round, tables);
    times.push(performance.now() - startMs);
  }
  if (!Number.isFinite(kept)) throw new Error("the yardstick's sums are finite");
  return median(times.slice(ROUNDS / 2));
}

function work(round: number, tables: Int32Array): number {
  const byId = new Map<string, { readonly tokens: number[]; position: number }>();
  for (let sequence = 0; sequence < SEQUENCES; sequence++) {
    byId.set(`request-${sequence}-${round}`, {
      tokens: Array.from({ length: 24 }, (_, index) => index * sequence),
      position: round,
    });
  }
  let sum = 0;
  for (const [id, each] of byId) {
    each.position += 1;
    for (let page = 0; page < PAGES; page++) tables[(sum + page) % tables.length] = each.position * page;
    sum += id.length + each.tokens.reduce((total, token) => total + token, 0);
  }
  return sum + JSON.stringify([...byId.keys()]).length;
}
