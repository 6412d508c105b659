import { check, sleep } from "k6";
import exec from "k6/execution";
import http from "k6/http";
import { Counter, Rate, Trend } from "k6/metrics";
import type { Options } from "k6/options";
import { type Body, chat, completion, headersOf, longCompletion } from "./requests.ts";
import { HOLD_S, IDLE_RAMP_S, PLANS, REFERENCES, STREAM_TOKENS, STREAMS_RAMP_S, TOKENS } from "./scenarios.ts";
import { keyOf, settings } from "./settings.ts";
import { type Endpoint, judge, readStream, type Streamed } from "./stream.ts";
import { ERROR_CODES, type SummaryData, summaries } from "./summary.ts";

const plan = PLANS[settings.scenario];
if (plan === undefined) throw new Error(`there is no scenario ${settings.scenario}`);
const { scenarios, thresholds } = plan();

// A metric's parts by tag are in the summary only when they have a threshold.
const counts = Object.fromEntries(ERROR_CODES.map((code) => [`moiety_errors{code:${code}}`, ["count>=0"]]));

export const options: Options = {
  scenarios: { ...scenarios },
  thresholds: { ...counts, ...thresholds },
  summaryTrendStats: ["count", "min", "med", "p(95)", "p(99)", "max"],
  systemTags: ["scenario", "check"],
  setupTimeout: "10m",
  noVUConnectionReuse: true,
};

const same = new Rate("moiety_text_same");
const cut = new Counter("moiety_streams_cut");
const repeated = new Counter("moiety_streams_repeated");
const whole = new Rate("moiety_stream_whole");
const loudRefused = new Rate("moiety_loud_refused");
const served = new Trend("moiety_requests_served_at_once");

/** What setup() found, before any load. */
interface Reference {
  readonly texts: readonly string[];
  readonly contextTokens: number;
}

const TIMEOUT_S = 300;

/** What the reference is taken of, in the scenarios that compare with one. */
const REFERENCE_TOKENS: Readonly<Record<string, number>> = {
  chaos: TOKENS.chaos,
  rolling: TOKENS.chaos,
  "idle-streams": TOKENS.idle,
};

export function setup(): Reference {
  const response = http.get(`${settings.url}/v1/models`, { headers: headersOf(keyOf(0)) });
  const served = response.json("data.0.max_model_len");
  const contextTokens = Math.min(settings.contextTokens, typeof served === "number" ? served : settings.contextTokens);
  const tokens = REFERENCE_TOKENS[settings.scenario];
  const asked = tokens === undefined ? [] : Array.from({ length: REFERENCES }, (_, index) => completion(index, tokens));
  return { texts: asked.map(answerOf), contextTokens };
}

/** The text of a completion that is not streamed. */
function answerOf(body: Body): string {
  const response = http.post(`${settings.url}/v1/completions`, JSON.stringify(body), {
    headers: headersOf(keyOf(0)),
    timeout: "300s",
  });
  if (response.status !== 200) throw new Error(`the reference could not be taken: status ${response.status}`);
  return String(response.json("choices.0.text"));
}

function ask(endpoint: Endpoint, body: Body, more: { key?: string; tags?: Record<string, string> } = {}): Streamed {
  const streamed = readStream({ endpoint, body, key: more.key ?? keyOf(0), timeoutS: TIMEOUT_S, ...more });
  judge(streamed);
  return streamed;
}

function compare(text: string, expected: string | undefined): void {
  const isSame = text === expected;
  same.add(isSame);
  check(isSame, { "the text is the reference's": (value) => value });
}

/** Different for every iteration of a run, and the same in every run. */
const iteration = () => exec.scenario.iterationInTest;

/** k6 finds it only where it is declared. */
export function handleSummary(data: SummaryData): Record<string, string> {
  return summaries(data);
}

export function smoke(): void {
  const alone = answerOf(completion(1, TOKENS.typical));
  compare(ask("completions", completion(1, TOKENS.typical)).text, alone);
  const said = ask("chat/completions", chat(1));
  check(said, {
    "a chat ends well": ({ ending }) => ending === "ended",
    "a chat says something": ({ text }) => text !== "",
  });
}

export function complete(): void {
  ask("completions", completion(iteration(), TOKENS.typical));
}

export function long({ contextTokens }: Reference): void {
  const share = [1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8][exec.vu.iterationInScenario] ?? 1 / 2;
  const tokens = 16;
  const body = longCompletion(
    exec.vu.idInTest * 100 + exec.vu.iterationInScenario,
    Math.floor(contextTokens * share) - tokens,
    tokens,
  );
  const first = ask("completions", body, { tags: { prompt: "new" } });
  compare(ask("completions", body, { tags: { prompt: "again" } }).text, first.text);
}

export function interactive(): void {
  ask("chat/completions", { ...chat(iteration()), priority: -10 }, { key: keyOf(0) });
}

export function bulk(): void {
  ask("completions", completion(iteration(), 256, { priority: 10 }), { key: keyOf(1) });
}

/** Asks as `complete` does, with a cache of its own in each phase, so that none has an easier time for those before it. */
export function calm(): void {
  ask("completions", completion(iteration(), TOKENS.typical, { cache_salt: exec.scenario.name }));
}

/** Asks for the limited tenant, and looks whether a refusal says all that a client needs to know. */
export function loud(): void {
  const body = completion(5_000 + iteration(), TOKENS.typical, { cache_salt: exec.scenario.name });
  const response = http.post(`${settings.url}/v1/completions`, JSON.stringify(body), {
    headers: headersOf(keyOf(1)),
    timeout: "120s",
  });
  const { status, headers } = response;
  loudRefused.add(status === 429);
  check(response, { "the limited tenant is answered or refused": () => status === 200 || status === 429 });
  if (status !== 429) return;
  check(response, {
    "a refusal has Retry-After": () => Number(headers["Retry-After"]) > 0,
    "a refusal has the limits' headers": () =>
      ["Limit", "Remaining", "Reset"].every((what) => headers[`X-Ratelimit-${what}-Requests`] !== undefined),
    "a refusal says rate_limit_exceeded": () => response.json("error.code") === "rate_limit_exceeded",
  });
}

/** Keeps one place of the batch taken until the hold is over. */
export function hold(): void {
  const isOver = () => exec.scenario.progress >= 0.98;
  const body = completion(1_000 + exec.vu.idInTest, 900, { priority: -10 });
  judge(readStream({ endpoint: "completions", body, key: keyOf(0), timeoutS: HOLD_S + 60, isEnough: isOver }));
  if (isOver()) sleep(1);
}

export function idle({ texts }: Reference): void {
  const index = exec.scenario.iterationInTest;
  sleep(Math.random() * IDLE_RAMP_S);
  const asked = index % REFERENCES;
  const body = completion(asked, TOKENS.idle, { priority: 10 });
  const streamed = readStream({ endpoint: "completions", body, key: keyOf(0), timeoutS: HOLD_S + 600 });
  if (judge(streamed)) compare(streamed.text, texts[asked]);
}

/** Asks for so many tokens, and looks whether they all came. */
function askWhole(tokens: number): void {
  const index = iteration();
  // The token source takes a stream's number from its prompt, to keep streams out of step.
  const { count } = ask("completions", completion(index, tokens, { prompt: [1, (index >> 8) & 255, index & 255] }));
  whole.add(count === tokens);
}

export function stream(): void {
  sleep((iteration() / (settings.streams ?? 2_000)) * STREAMS_RAMP_S);
  askWhole(STREAM_TOKENS);
}

export function request(): void {
  askWhole(4);
}

export function probe(): void {
  const load = http.get(`${settings.url}/load`).json("server_load");
  if (typeof load === "number") served.add(load);
  sleep(1);
}

/** A client that asks again when its gateway is gone. */
export function survive({ texts }: Reference): void {
  const asked = exec.vu.idInTest % REFERENCES;
  const expected = texts[asked] ?? "";
  for (let tries = 0; tries < 60; tries++) {
    const streamed = readStream({
      endpoint: "completions",
      body: completion(asked, TOKENS.chaos),
      key: keyOf(0),
      timeoutS: TIMEOUT_S,
    });
    const isGatewayGone = streamed.ending === "cut" || streamed.code === "http_503";
    if (!isGatewayGone) {
      if (judge(streamed)) compare(streamed.text, expected);
      return;
    }
    if (streamed.began) cut.add(1);
    // What came before the cut is right as well.
    if (streamed.began) compare(streamed.text, expected.slice(0, streamed.text.length));
    repeated.add(1);
    sleep(0.5);
  }
  judge({ ending: "failed", code: "no_answer", began: false, text: "", count: 0 });
}

/** A client that keeps its connection, asks for one completion after another, every third one whole, and never asks again. */
export function roll({ texts }: Reference): void {
  for (let index = exec.vu.idInTest; http.get(settings.until).status === 200; index++) {
    const asked = index % REFERENCES;
    const body = completion(asked, TOKENS.chaos);
    if (index % 3 === 0) compare(wholeAnswerOf(body), texts[asked]);
    else compare(ask("completions", body).text, texts[asked]);
  }
}

/** As a stream is counted, but not streamed. */
function wholeAnswerOf(body: Body): string {
  const request = { headers: headersOf(keyOf(0)), timeout: seconds(TIMEOUT_S) };
  const response = http.post(`${settings.url}/v1/completions`, JSON.stringify(body), request);
  const isWell = response.status === 200;
  const code = response.status === 0 ? "no_answer" : `http_${response.status}`;
  const text = isWell ? String(response.json("choices.0.text")) : "";
  judge({ ending: isWell ? "ended" : "failed", code: isWell ? undefined : code, began: isWell, text, count: 0 });
  return text;
}

const seconds = (count: number) => `${count}s`;
