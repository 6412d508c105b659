import { type AppError, parseRequestId } from "@moiety/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KvCache } from "../kv-cache/kv-cache.js";
import { Scheduler, type SchedulerLimits } from "./scheduler.js";
import { Sequence } from "./sequence.js";

const pageTokens = 4;
const window = 6;

function setup(fullPages: number, limits: Partial<SchedulerLimits> = {}) {
  const merged = { maxSequences: 4, stepTokens: 16, prefillChunkTokens: 8, contextTokens: fullPages * pageTokens, ...limits };
  const slidingPages = merged.maxSequences * 4 + Math.ceil(merged.stepTokens / pageTokens) + 2;
  const cache = new KvCache({ pageTokens, fullPages, slidingPages, slidingWindow: window });
  return { cache, limits: merged, scheduler: new Scheduler(cache, merged) };
}

interface Wanted {
  readonly prompt: number;
  readonly output: number;
  readonly priority?: number;
  readonly arrivedAtMs?: number;
  /** Prompts of one text begin alike, those of different ones differ from the first token on; default: the first six are the same. */
  readonly text?: number | undefined;
}

let counter = 0;
function sequence({ prompt, output, priority = 1, arrivedAtMs = 0, text }: Wanted): Sequence {
  counter += 1;
  const tokenAt = (index: number) => (text === undefined ? (index < 6 ? 7 : counter + index) : text + index);
  return new Sequence({
    id: parseRequestId(`r-${String(counter).padStart(6, "0")}`),
    priority,
    arrivedAtMs,
    promptTokens: Array.from({ length: prompt }, (_, index) => tokenAt(index)),
    outputTokens: [],
    maxTokens: prompt + output,
    cacheSalt: "",
    pageTokens,
    reusePrefix: true,
  });
}

/** One step with a model whose every token is 1. Returns who was planned. */
function step(scheduler: Scheduler): Sequence[] {
  const plan = scheduler.schedule();
  for (const rows of plan.rows) {
    scheduler.advance(rows, rows.draws ? 1 : undefined);
    if (rows.sequence.tokens.length === rows.sequence.maxTokens) scheduler.end(rows.sequence);
  }
  scheduler.checkIntegrity();
  return plan.rows.map((rows) => rows.sequence);
}

describe("Scheduler", () => {
  it("plans decode rows before chunks, and chunks within the budget", () => {
    const { scheduler } = setup(64, { stepTokens: 10, prefillChunkTokens: 8 });
    const short = sequence({ prompt: 3, output: 9 });
    const long = sequence({ prompt: 30, output: 2, arrivedAtMs: 1 });
    scheduler.add(short);
    scheduler.add(long);
    expect(scheduler.schedule().rows.map((rows) => [rows.sequence, rows.count, rows.draws])).toEqual([
      [short, 3, true],
      [long, 7, false],
    ]);
  });

  it("refuses at once what could never be finished, and says why", () => {
    const { scheduler } = setup(4);
    const refuse = () => scheduler.add(sequence({ prompt: 10, output: 10 }));
    expect(refuse).toThrowError(/16 tokens of context/);
    try {
      refuse();
    } catch (error) {
      expect((error as AppError).code).toBe("OUT_OF_RANGE");
    }
  });

  it("takes the pages of the lowest rank when they run out, and resumes it with its tokens", () => {
    const { scheduler } = setup(6, { contextTokens: 24 });
    const first = sequence({ prompt: 8, output: 12 });
    const second = sequence({ prompt: 8, output: 12, arrivedAtMs: 1 });
    scheduler.add(first);
    scheduler.add(second);
    let preempted = 0;
    for (let steps = 0; steps < 100 && second.state.kind !== "ended"; steps++) {
      const before = second.tokens.length;
      step(scheduler);
      if (second.state.kind === "waiting") preempted += 1;
      expect(second.tokens.length).toBeGreaterThanOrEqual(before);
      if (first.state.kind !== "ended") expect(first.state.kind).not.toBe("waiting");
    }
    expect(preempted).toBeGreaterThan(0);
    expect(second.outputLength).toBe(12);
  });

  it("lets a more urgent request take the place of a less urgent one, and never that of its equal", () => {
    const { scheduler } = setup(64, { maxSequences: 1 });
    const slow = sequence({ prompt: 8, output: 50, priority: 2 });
    scheduler.add(slow);
    step(scheduler);
    const equal = sequence({ prompt: 8, output: 2, priority: 2, arrivedAtMs: 5 });
    scheduler.add(equal);
    step(scheduler);
    expect([slow.state.kind, equal.state.kind]).toEqual(["decoding", "waiting"]);
    const urgent = sequence({ prompt: 8, output: 2, priority: 0, arrivedAtMs: 9 });
    scheduler.add(urgent);
    expect(step(scheduler)).toEqual([urgent]);
    expect(slow.state.kind).toBe("waiting");
  });

  it("does not overtake a large request with small ones that came later", () => {
    const { scheduler } = setup(8, { contextTokens: 32 });
    const running = sequence({ prompt: 12, output: 4, text: 100 });
    const large = sequence({ prompt: 29, output: 2, arrivedAtMs: 1, text: 200 });
    const small = sequence({ prompt: 2, output: 2, arrivedAtMs: 2, text: 300 });
    for (const each of [running, large, small]) scheduler.add(each);
    while (large.state.kind === "waiting") step(scheduler);
    expect(small.state.kind).toBe("waiting");
    expect(running.state.kind).toBe("ended");
  });

  it("computes a prompt once for all that begin with it and came together", () => {
    const { scheduler } = setup(64, { maxSequences: 8 });
    const prompt = 27;
    const choices = Array.from({ length: 5 }, () => sequence({ prompt, output: 3, text: 1_000 }));
    for (const choice of choices) scheduler.add(choice);
    let computed = 0;
    for (let steps = 0; choices.some(({ state }) => state.kind !== "ended"); steps++) {
      expect(steps).toBeLessThan(20);
      const plan = scheduler.schedule();
      computed += plan.tokens;
      for (const rows of plan.rows) {
        scheduler.advance(rows, rows.draws ? 1 : undefined);
        if (rows.sequence.tokens.length === rows.sequence.maxTokens) scheduler.end(rows.sequence);
      }
      scheduler.checkIntegrity();
    }
    const decoded = choices.length * 2;
    const ownTokens = prompt % pageTokens;
    expect(computed).toBe(prompt + (choices.length - 1) * ownTokens + decoded);
  });

  it("lets others pass one that waits for its prefix, and has it wait for none that goes later or is gone", () => {
    const { scheduler } = setup(64, { stepTokens: 24 });
    const first = sequence({ prompt: 30, output: 2, text: 1_000 });
    const second = sequence({ prompt: 30, output: 2, text: 1_000, arrivedAtMs: 1 });
    const other = sequence({ prompt: 9, output: 2, text: 2_000, arrivedAtMs: 2 });
    for (const each of [first, second, other]) scheduler.add(each);
    expect(step(scheduler)).toEqual([first, other]);
    const urgent = sequence({ prompt: 30, output: 2, text: 1_000, priority: 0 });
    scheduler.add(urgent);
    expect(step(scheduler)).toContain(urgent);
    scheduler.end(first);
    scheduler.end(urgent);
    expect(step(scheduler)).toContain(second);
  });

  it("leaves out a sequence that is held, and keeps its pages", () => {
    const { scheduler } = setup(16);
    const held = sequence({ prompt: 4, output: 8 });
    scheduler.add(held);
    step(scheduler);
    expect(scheduler.schedule((each) => each === held).rows).toEqual([]);
    expect(held.state.kind).toBe("decoding");
    expect(step(scheduler)).toEqual([held]);
  });

  it("brings every request to its end within its bounds, whatever comes, is cancelled or fails", () => {
    const wanted = fc.record({
      at: fc.nat(30),
      prompt: fc.integer({ min: 1, max: 40 }),
      output: fc.integer({ min: 1, max: 20 }),
      priority: fc.nat(2),
      text: fc.option(fc.constantFrom(100, 200), { nil: undefined }),
      cancelAt: fc.option(fc.nat(60)),
    });
    const limits = fc.record({
      maxSequences: fc.integer({ min: 1, max: 5 }),
      extra: fc.nat(12),
      prefillChunkTokens: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(
      fc.property(
        limits,
        fc.integer({ min: 16, max: 40 }),
        fc.array(wanted, { maxLength: 14 }),
        fc.nat(6),
        (size, fullPages, requests, failEvery) => {
          const stepTokens = size.maxSequences + size.extra;
          const { scheduler, cache } = setup(fullPages, { ...size, stepTokens });
          const all = requests.map((request) => ({ ...request, sequence: sequence({ ...request, arrivedAtMs: request.at }) }));
          for (let now = 0; now < 3000 && all.some((each) => each.sequence.state.kind !== "ended"); now++) {
            for (const each of all) {
              if (each.at === now) scheduler.add(each.sequence);
              if (each.cancelAt === now && now > each.at && each.sequence.state.kind !== "ended") scheduler.end(each.sequence);
            }
            const plan = scheduler.schedule();
            expect(plan.tokens).toBeLessThanOrEqual(stepTokens);
            expect(new Set(plan.rows.map((rows) => rows.sequence)).size).toBe(plan.rows.length);
            plan.rows.forEach((rows, index) => {
              if (failEvery > 0 && (now + index) % (failEvery + 2) === 0) return;
              const positions = rows.sequence.pages.full.length * pageTokens;
              expect(positions).toBeGreaterThanOrEqual(rows.start + rows.count);
              scheduler.advance(rows, rows.draws ? 1 : undefined);
              if (rows.sequence.tokens.length === rows.sequence.maxTokens) scheduler.end(rows.sequence);
            });
            scheduler.checkIntegrity();
          }
          for (const each of all) {
            expect(each.sequence.state.kind).toBe("ended");
            if (each.cancelAt === null) expect(each.sequence.outputLength).toBe(each.output);
          }
          cache.checkIntegrity([]);
        },
      ),
      { numRuns: 200 },
    );
  });
});
