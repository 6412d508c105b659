/** Where the time of a step went, summed over its layers, in microseconds; for a step of one micro-batch they follow each other. */
export interface StageTimes {
  /** Attention, gating, and the sum of the experts' rows: this process's cores. */
  readonly attendUs: number;
  /** Messages, both ways. */
  readonly networkUs: number;
  /** Waiting and computing in the slowest expert worker. */
  readonly computeUs: number;
}

/** A step that was run. */
export interface StepObservation {
  readonly rows: number;
  readonly microBatches: 1 | 2;
  readonly stepUs: number;
  readonly stages: StageTimes;
}

/** Steps of a kind before their cost is believed. */
const TRIAL_STEPS = 2;
/** The other number must be faster by this much to be chosen: noise does not have it switch to and fro. */
const HYSTERESIS = 0.05;
/** Steps until the number not chosen is tried again; doubles each time that it loses, and begins anew when it wins. */
const FIRST_RETRIAL_STEPS = 128;
const MAX_RETRIAL_STEPS = 4_096;
/** Weight of the newest step in a cost. */
const NEWEST = 0.25;

interface Cost {
  steps: number;
  /** Per row. */
  us: number;
}

/** What is known of steps of about so many rows. */
interface Bucket {
  chosen: 1 | 2;
  readonly costs: { readonly 1: Cost; readonly 2: Cost };
  /** Of a step of one micro-batch: what two could bring it down to at best, as a share. */
  bestShare: number;
  /** Steps left until the other number is tried. */
  untilTrial: number;
  retrialSteps: number;
  /** Steps of the trial under way that are left. */
  trialLeft: number;
}

/**
 * Whether a step is run as one micro-batch or as two that take turns, from what steps of about as many rows took. Two hide the
 * messages and let attention and experts compute at the same time, but read every weight twice: which counts for more depends on
 * the machine, the network and the number of rows, and is measured. Pure: no clock, no randomness.
 *
 * For each power of two of rows: one micro-batch first. When its stages leave something to hide, two are tried; the faster number
 * is kept, and the other is tried again ever more seldom.
 */
export class MicroBatchPolicy {
  readonly #buckets = new Map<number, Bucket>();

  /** For a step that can be split. */
  decide(rows: number): 1 | 2 {
    const bucket = this.#bucketOf(rows);
    return bucket.trialLeft > 0 ? other(bucket.chosen) : bucket.chosen;
  }

  /** To be told of every step that could have been split. */
  observe({ rows, microBatches, stepUs, stages }: StepObservation): void {
    const bucket = this.#bucketOf(rows);
    const cost = bucket.costs[microBatches];
    const us = stepUs / Math.max(1, rows);
    cost.us = cost.steps === 0 ? us : cost.us + NEWEST * (us - cost.us);
    cost.steps += 1;
    if (microBatches === 1) bucket.bestShare = bestShareOfTwo(stages, stepUs);
    if (microBatches !== bucket.chosen) {
      bucket.trialLeft = Math.max(0, bucket.trialLeft - 1);
      if (bucket.trialLeft === 0) conclude(bucket);
      return;
    }
    bucket.untilTrial -= 1;
    if (bucket.untilTrial > 0) return;
    if (worthATrial(bucket)) beginTrial(bucket);
    else bucket.untilTrial = bucket.retrialSteps;
  }

  #bucketOf(rows: number): Bucket {
    const key = Math.floor(Math.log2(Math.max(1, rows)));
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      const costs = { 1: { steps: 0, us: 0 }, 2: { steps: 0, us: 0 } };
      const retrialSteps = FIRST_RETRIAL_STEPS;
      bucket = { chosen: 1, costs, bestShare: 0, untilTrial: TRIAL_STEPS, retrialSteps, trialLeft: 0 };
      this.#buckets.set(key, bucket);
    }
    return bucket;
  }
}

/**
 * The least that is left of a step when two micro-batches take turns and splitting costs nothing: neither attention nor experts can
 * do their work in less than it takes, and messages may be hidden altogether.
 */
export function bestShareOfTwo({ attendUs, networkUs, computeUs }: StageTimes, stepUs: number): number {
  const hidden = attendUs + networkUs + computeUs - Math.max(attendUs, computeUs);
  return stepUs <= 0 ? 1 : Math.max(0, 1 - hidden / stepUs);
}

function worthATrial({ chosen, bestShare }: Bucket): boolean {
  return chosen === 2 || bestShare < 1 - HYSTERESIS;
}

/** What the number not chosen took long ago says little. */
function beginTrial(bucket: Bucket): void {
  bucket.trialLeft = TRIAL_STEPS;
  bucket.costs[other(bucket.chosen)].steps = 0;
}

function conclude(bucket: Bucket): void {
  const { chosen, costs } = bucket;
  const won = costs[other(chosen)].us < costs[chosen].us * (1 - HYSTERESIS);
  if (won) bucket.chosen = other(chosen);
  bucket.retrialSteps = won ? FIRST_RETRIAL_STEPS : Math.min(MAX_RETRIAL_STEPS, bucket.retrialSteps * 2);
  bucket.untilTrial = bucket.retrialSteps;
}

function other(count: 1 | 2): 1 | 2 {
  return count === 1 ? 2 : 1;
}
