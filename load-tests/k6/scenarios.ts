import type { Options, Scenario } from "k6/options";
import { settings } from "./settings.ts";

/** A load and what it has to show. */
export interface Plan {
  readonly scenarios: Readonly<Record<string, Scenario>>;
  readonly thresholds: NonNullable<Options["thresholds"]>;
}

/** Different requests that a reference is taken of; VUs share them. */
export const REFERENCES = 8;
/** Answers that a tenant under a limit may have at once. */
const LOUD_AT_ONCE = 2;
/** Tokens of a completion: a typical one, one of chaos (long enough to be hit), one that waits in a queue. */
export const TOKENS = { typical: 48, chaos: 200, idle: 8 } as const;
const { durationS, rate = 2, firstTokenMs, gapMs } = settings;

/** No stream fails, and none is left over that k6 had to interrupt. */
const SOUND = { moiety_streams_failed: ["rate==0"], moiety_streams_open: ["count==0"] };
const UNREFUSED = { moiety_streams_refused: ["rate==0"] };
const PUNCTUAL = { moiety_time_to_first_token: [`p(95)<${firstTokenMs}`], moiety_token_gap: [`p(95)<${gapMs}`] };
/** k6 had a virtual user for every request when its time came. */
const UNDROPPED = { dropped_iterations: ["count==0"] };
const SAME = { checks: ["rate==1"], moiety_text_same: ["rate==1"] };

const seconds = (count: number) => `${count}s`;

function arrivals(exec: string, perSecond: number, lengthS: number, startS = 0): Scenario {
  return {
    executor: "constant-arrival-rate",
    exec,
    // A rate is a whole number to k6: what is below one a second is said per minute.
    rate: Math.round(perSecond * 60),
    timeUnit: "1m",
    duration: seconds(lengthS),
    startTime: seconds(startS),
    preAllocatedVUs: Math.min(64, Math.ceil(perSecond * 4)),
    maxVUs: Math.max(64, Math.ceil(perSecond * lengthS)),
    gracefulStop: "120s",
  };
}

function smoke(): Plan {
  return {
    scenarios: { smoke: { executor: "shared-iterations", exec: "smoke", vus: 1, iterations: 1, maxDuration: "2m" } },
    thresholds: { ...SOUND, ...UNREFUSED, ...SAME },
  };
}

function steady(): Plan {
  const thresholds = { ...SOUND, ...UNREFUSED, ...PUNCTUAL, ...UNDROPPED };
  return { scenarios: { steady: arrivals("complete", rate, durationS ?? 60) }, thresholds };
}

function soak(): Plan {
  const lengthS = durationS ?? 1_800;
  const tenth = Math.ceil(lengthS / 10);
  return {
    scenarios: {
      soak: arrivals("complete", rate, lengthS - tenth),
      last: arrivals("complete", rate, tenth, lengthS - tenth),
    },
    thresholds: {
      ...SOUND,
      ...UNREFUSED,
      ...PUNCTUAL,
      ...UNDROPPED,
      "moiety_time_to_first_token{scenario:last}": [`p(95)<${firstTokenMs}`],
    },
  };
}

/** Ten times the rate for a while. Refusals with 429 are right then, failures are not; and afterwards it is as before. */
function spike(): Plan {
  const lengthS = durationS ?? 15;
  const afterS = 10 + 4 * lengthS;
  return {
    scenarios: {
      before: arrivals("complete", rate, 10),
      spike: arrivals("complete", rate * 10, lengthS, 10),
      after: arrivals("complete", rate, 20, afterS),
    },
    thresholds: {
      ...SOUND,
      ...UNDROPPED,
      "moiety_time_to_first_token{scenario:before}": [`p(95)<${firstTokenMs}`],
      "moiety_time_to_first_token{scenario:spike}": ["p(95)>=0"],
      "moiety_time_to_first_token{scenario:after}": [`p(95)<${firstTokenMs}`],
    },
  };
}

function longContext(): Plan {
  return {
    scenarios: {
      long: { executor: "per-vu-iterations", exec: "long", vus: settings.streams ?? 2, iterations: 5, maxDuration: "60m" },
    },
    thresholds: {
      ...SOUND,
      ...UNREFUSED,
      ...SAME,
      "moiety_time_to_first_token{prompt:new}": ["p(95)>=0"],
      "moiety_time_to_first_token{prompt:again}": ["p(95)>=0"],
    },
  };
}

/** A tenant with long answers of low priority, as many as fit, and one that chats. */
function mixedTenants(): Plan {
  const lengthS = durationS ?? 60;
  return {
    scenarios: {
      bulk: {
        executor: "constant-vus",
        exec: "bulk",
        vus: settings.streams ?? 48,
        duration: seconds(lengthS),
        gracefulStop: "120s",
      },
      interactive: arrivals("interactive", rate, Math.max(1, lengthS - 5), 5),
    },
    thresholds: {
      ...SOUND,
      ...UNREFUSED,
      ...UNDROPPED,
      "moiety_time_to_first_token{scenario:interactive}": [`p(95)<${firstTokenMs}`],
      "moiety_time_to_first_token{scenario:bulk}": ["p(95)>=0"],
    },
  };
}

/** Requests per second of a tenant that asks for far more than it may have. */
const TOO_MANY = 20;

/** What a tenant is beside in each part of a round, by the tag `phase`. */
const PHASES = ["alone", "within", "over"] as const;
/** Often, and each for a short time, so that what else a machine does meets all phases alike. */
const ROUNDS = 4;
const PAUSE_S = 2;

/**
 * A tenant that asks for a few answers a second: alone, beside another that has all that it may have at once, and beside the same when it
 * asks for far more. The runner compares the second with the third.
 */
function overLimit(): Plan {
  const lengthS = Math.max(2, Math.round((durationS ?? 84) / (ROUNDS * PHASES.length)));
  const scenarios: Record<string, Scenario> = {};
  for (let part = 0; part < ROUNDS * PHASES.length; part++) {
    const phase = PHASES[part % PHASES.length] ?? "alone";
    const startS = part * (lengthS + PAUSE_S);
    const tags = { phase };
    scenarios[`calm_${part}`] = { ...arrivals("calm", rate, lengthS, startS), tags };
    if (phase === "over") scenarios[`loud_${part}`] = { ...arrivals("loud", TOO_MANY, lengthS, startS), tags };
    if (phase !== "within") continue;
    const times = { duration: seconds(lengthS), startTime: seconds(startS), gracefulStop: "30s" };
    scenarios[`loud_${part}`] = { executor: "constant-vus", exec: "loud", vus: LOUD_AT_ONCE, ...times, tags };
  }
  const seen = PHASES.flatMap((phase) => [
    [`moiety_time_to_first_token{phase:${phase}}`, ["p(95)>=0"]],
    [`moiety_answer_time{phase:${phase}}`, ["p(95)>=0"]],
  ]);
  return {
    scenarios,
    thresholds: {
      ...SOUND,
      ...UNREFUSED,
      checks: ["rate==1"],
      "moiety_loud_refused{phase:within}": ["rate==0"],
      "moiety_loud_refused{phase:over}": ["rate>0.5"],
      ...Object.fromEntries(seen),
    },
  };
}

/** How long the queue is held up by others while the idle streams wait in it. */
const IDLE = settings.streams ?? 200;
export const IDLE_RAMP_S = Math.ceil(IDLE / 50);
export const HOLD_S = 3 + IDLE_RAMP_S + (durationS ?? 30);
/** As many as an attention worker computes at a time by default. */
const HOLDERS = 32;

function idleStreams(): Plan {
  return {
    scenarios: {
      hold: { executor: "constant-vus", exec: "hold", vus: HOLDERS, duration: seconds(HOLD_S), gracefulStop: "60s" },
      idle: {
        executor: "per-vu-iterations",
        exec: "idle",
        vus: IDLE,
        iterations: 1,
        startTime: "3s",
        maxDuration: seconds(HOLD_S + 600),
      },
      probe: { executor: "constant-vus", exec: "probe", vus: 1, duration: seconds(HOLD_S) },
    },
    thresholds: { ...SOUND, ...UNREFUSED, ...SAME, moiety_requests_served_at_once: [`max>=${IDLE}`] },
  };
}

/** The runner kills one process after another meanwhile. Only a gateway's death may cut a stream, which is then asked for again. */
function chaos(): Plan {
  return {
    scenarios: {
      chaos: {
        executor: "constant-vus",
        exec: "survive",
        vus: settings.streams ?? REFERENCES,
        duration: seconds(durationS ?? 90),
        gracefulStop: "180s",
      },
    },
    thresholds: { ...SOUND, ...SAME },
  };
}

/** Somebody restarts one process after another in good order meanwhile, and says when it is over: nobody may notice. */
function rolling(): Plan {
  return {
    scenarios: {
      rolling: {
        executor: "per-vu-iterations",
        exec: "roll",
        vus: settings.streams ?? 4,
        iterations: 1,
        maxDuration: seconds(durationS ?? 600),
      },
    },
    thresholds: { ...SOUND, ...UNREFUSED, ...SAME },
  };
}

const STREAMS = settings.streams ?? 2_000;
/** Streams are opened one after another, so that the openings are not all that is measured. */
export const STREAMS_RAMP_S = Math.ceil(STREAMS / 100);
/** A token a second from the token source: the first stream is still open when the last has been for `durationS`. */
export const STREAM_TOKENS = STREAMS_RAMP_S + (durationS ?? 20);

/** So many streams at once, each a slow one. */
function streams(): Plan {
  return {
    scenarios: {
      streams: { executor: "per-vu-iterations", exec: "stream", vus: STREAMS, iterations: 1, maxDuration: "10m" },
      probe: { executor: "constant-vus", exec: "probe", vus: 1, duration: seconds(STREAM_TOKENS) },
    },
    thresholds: {
      ...SOUND,
      ...UNREFUSED,
      moiety_stream_whole: ["rate==1"],
      moiety_requests_served_at_once: [`max>=${STREAMS}`],
    },
  };
}

/** Very many short requests; the summary has the memory of the processes before and after. */
function requests(): Plan {
  return {
    scenarios: {
      requests: {
        executor: "shared-iterations",
        exec: "request",
        vus: settings.streams ?? 32,
        iterations: settings.requests ?? 100_000,
        maxDuration: "60m",
      },
    },
    thresholds: { ...SOUND, ...UNREFUSED, moiety_stream_whole: ["rate==1"] },
  };
}

export const PLANS: Readonly<Record<string, () => Plan>> = {
  smoke,
  steady,
  spike,
  soak,
  "long-context": longContext,
  "mixed-tenants": mixedTenants,
  "over-limit": overLimit,
  "idle-streams": idleStreams,
  chaos,
  rolling,
  streams,
  requests,
};
