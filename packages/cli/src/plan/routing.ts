import type { PlanShape } from "./plan-shape.js";

/**
 * What uniform, independent routing does on average: every row chooses `k` different ones of `E` experts, each set as likely as any
 * other. A trained model routes less evenly.
 */
export type Routing = Pick<PlanShape, "experts" | "expertsPerToken">;

/** Experts of each worker in one layer: as even as their number allows, the first ones get one more. They add up to `experts`. */
export function layerShares(experts: number, workers: number): readonly number[] {
  const each = Math.floor(experts / workers);
  return Array.from({ length: workers }, (_, worker) => each + (worker < experts % workers ? 1 : 0));
}

/** Distinct experts, of `held` ones, that so many rows choose: `held * (1 - (1 - k/E)^rows)`; each is missed by a row with 1 - k/E. */
export function touchedExperts({ experts, expertsPerToken }: Routing, held: number, rows: number): number {
  return held * (1 - (1 - expertsPerToken / experts) ** rows);
}

/** Workers that a step of so many rows calls in one layer: a row misses one of `held` experts with `C(E - held, k) / C(E, k)`. */
export function workersCalled(routing: Routing, shares: readonly number[], rows: number): number {
  return shares.reduce((sum, held) => sum + 1 - missProbability(routing, held) ** rows, 0);
}

/** That none of a row's `k` choices is among `held` experts: drawn one by one, without putting back. */
function missProbability({ experts, expertsPerToken }: Routing, held: number): number {
  let probability = 1;
  for (let drawn = 0; drawn < expertsPerToken; drawn += 1) {
    probability *= Math.max(0, experts - held - drawn) / (experts - drawn);
  }
  return probability;
}

/** Work of one worker in one layer. */
export interface ExpertLoad {
  /** (row, expert) pairs. */
  readonly pairs: number;
  /** Distinct experts among them. */
  readonly touched: number;
}

/**
 * The load of a worker with `held` experts if, of `workers`, it is the one with most to do. A layer ends when the slowest worker has
 * answered, so that averages would flatter: of the 4 pairs of one row, the fuller one of two workers gets 2.7, not 2.
 *
 * Pairs on a worker have the mean `rows k p`, `p = held/E`, and the variance `rows k p (1-p) (E-k)/(E-1)` (sum of hypergeometric
 * draws). Their sum is fixed, so their correlation is -1/(n-1), and the greatest of n normal variables lies
 * `sqrt(n/(n-1)) m(n)` standard deviations above the mean, m(n) being that of independent ones (Owen and Steck, Annals of
 * Mathematical Statistics 33, 1962). Below 10% off the exact value wherever counting is feasible.
 */
export function slowestLoad(
  routing: Routing,
  { held, workers, rows }: { readonly held: number; readonly workers: number; readonly rows: number },
): ExpertLoad {
  const { experts, expertsPerToken } = routing;
  if (held === 0) return { pairs: 0, touched: 0 };
  const part = held / experts;
  const mean = rows * expertsPerToken * part;
  const variance = mean * (1 - part) * ((experts - expertsPerToken) / Math.max(1, experts - 1));
  const excess = workers === 1 ? 0 : Math.sqrt((variance * workers) / (workers - 1)) * expectedMaximum(workers);
  const most = rows * Math.min(expertsPerToken, held);
  const pairs = Math.min(most, Math.max(mean + excess, Math.ceil(mean)));
  return { pairs, touched: Math.min(held, (touchedExperts(routing, held, rows) * pairs) / mean) };
}

const maxima = new Map<number, number>();

/** Mean of the greatest of n independent standard normal variables; each n is integrated once. */
export function expectedMaximum(count: number): number {
  const known = maxima.get(count) ?? integrateMaximum(count);
  maxima.set(count, known);
  return known;
}

/** With F their distribution: the integral of `1 - F^n` above 0 less that of `F^n` below. */
function integrateMaximum(count: number): number {
  const step = 0.005;
  let below = 0;
  let mean = 0;
  for (let x = -8 + step / 2; x < 8; x += step) {
    const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
    const all = (below + (density * step) / 2) ** count;
    mean += step * (x < 0 ? -all : 1 - all);
    below += density * step;
  }
  return mean;
}
