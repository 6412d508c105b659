import exec from "k6/execution";
import { Counter, Rate, Trend } from "k6/metrics";
import { readEvents } from "k6/x/events";
import { type Body, headersOf, streamed } from "./requests.ts";
import { settings } from "./settings.ts";

const firstToken = new Trend("moiety_time_to_first_token", true);
const gap = new Trend("moiety_token_gap", true);
const stall = new Trend("moiety_longest_gap", true);
/** Until the last text. */
const answerTime = new Trend("moiety_answer_time", true);
const tokensPerSecond = new Trend("moiety_tokens_per_second");
const tokens = new Counter("moiety_tokens");
const errors = new Counter("moiety_errors");
const failed = new Rate("moiety_streams_failed");
const refused = new Rate("moiety_streams_refused");
const keepAlives = new Counter("moiety_keep_alives");
/** One up for each that is sent, one down for each that ended: what k6 itself had to interrupt is left over. */
const open = new Counter("moiety_streams_open");

export type Endpoint = "chat/completions" | "completions";

/** How a stream ended: as it should, at our wish, refused with 429, without an answer or in the middle, or with an error. */
export type Ending = "ended" | "left" | "refused" | "cut" | "failed";

export interface Streamed {
  readonly ending: Ending;
  /** What went wrong: an error's `code`, `http_STATUS`, or one of ours. */
  readonly code: string | undefined;
  /** Whether the answer began. */
  readonly began: boolean;
  /** Thoughts and content, or a completion's text. */
  readonly text: string;
  /** Tokens, as the server counts them; without that the events with text. */
  readonly count: number;
}

export interface StreamOptions {
  readonly endpoint: Endpoint;
  readonly body: Body;
  readonly key: string;
  readonly timeoutS: number;
  readonly tags?: Readonly<Record<string, string>>;
  /** Asked at every event; true: hang up. */
  readonly isEnough?: () => boolean;
}

interface Chunk {
  readonly choices?: readonly {
    readonly text?: string;
    readonly delta?: { readonly content?: string | null; readonly reasoning?: string | null };
  }[];
  readonly usage?: { readonly completion_tokens: number } | null;
  readonly error?: { readonly code?: string | null; readonly type?: string };
}

/** Milliseconds since the run began, with a fraction. */
const nowMs = (): number => exec.instance.currentTestRunDuration;

const textOf = ({ choices = [] }: Chunk): string =>
  choices.map(({ text, delta }) => text ?? `${delta?.reasoning ?? ""}${delta?.content ?? ""}`).join("");

/** What was seen of one stream. */
class Reading {
  text = "";
  code: string | undefined;
  isDone = false;
  hasLeft = false;
  private readonly sentMs = nowMs();
  private firstMs: number | undefined;
  private lastMs = this.sentMs;
  private longestMs = 0;
  private events = 0;
  private counted: number | undefined;
  private readonly tags: Record<string, string>;

  constructor(tags: Readonly<Record<string, string>>) {
    this.tags = { ...tags };
  }

  take(data: string): void {
    if (data === "[DONE]") {
      this.isDone = true;
      return;
    }
    const chunk: Chunk = JSON.parse(data);
    if (chunk.error !== undefined) this.code = chunk.error.code ?? chunk.error.type ?? "error";
    this.counted = chunk.usage?.completion_tokens ?? this.counted;
    const text = textOf(chunk);
    if (text !== "") this.takeText(text);
  }

  get count(): number {
    return this.counted ?? this.events;
  }

  /** Figures of the whole stream, however it ended. */
  finish(): void {
    const { count } = this;
    tokens.add(count, this.tags);
    if (this.events > 0) {
      stall.add(this.longestMs, this.tags);
      answerTime.add(this.lastMs - this.sentMs, this.tags);
    }
    const seconds = (this.lastMs - (this.firstMs ?? this.lastMs)) / 1_000;
    if (count > 1 && seconds > 0) tokensPerSecond.add((count - 1) / seconds, this.tags);
  }

  private takeText(text: string): void {
    const atMs = nowMs();
    const sinceMs = atMs - this.lastMs;
    if (this.firstMs === undefined) {
      this.firstMs = atMs;
      firstToken.add(sinceMs, this.tags);
    } else {
      gap.add(sinceMs, this.tags);
      this.longestMs = Math.max(this.longestMs, sinceMs);
    }
    this.lastMs = atMs;
    this.events += 1;
    this.text += text;
  }
}

/** Reads one stream to its end, event by event. Whether its ending is a fault is for `judge` to say. */
export function readStream({ endpoint, body, key, timeoutS, tags = {}, isEnough }: StreamOptions): Streamed {
  const reading = new Reading(tags);
  open.add(1);
  const request = { headers: headersOf(key), body: JSON.stringify(streamed(body)), timeoutMs: timeoutS * 1_000 };
  const response = readEvents(`${settings.url}/v1/${endpoint}`, request, ({ data, isComment }) => {
    if (isComment) keepAlives.add(1);
    else reading.take(data);
    reading.hasLeft = !reading.isDone && isEnough?.() === true;
    return reading.hasLeft;
  });
  open.add(-1);
  reading.finish();
  return { ...endingOf(reading, response), began: reading.text !== "", text: reading.text, count: reading.count };
}

function endingOf(reading: Reading, { status, error }: { status: number; error: string }): Pick<Streamed, "ending" | "code"> {
  if (reading.hasLeft) return { ending: "left", code: undefined };
  if (error === "timeout") return faulty("failed", "timeout");
  if (error !== "") return status === 0 ? faulty("cut", "no_answer") : faulty("cut", "cut");
  if (status !== 200) return faulty(status === 429 ? "refused" : "failed", `http_${status}`);
  if (reading.code !== undefined) return faulty("failed", reading.code);
  return reading.isDone ? { ending: "ended", code: undefined } : faulty("cut", "cut");
}

const faulty = (ending: Ending, code: string) => ({ ending, code });

/** Counts how a stream ended, and says whether it did as it should. */
export function judge({ ending, code }: Streamed): boolean {
  const isWell = ending === "ended" || ending === "left";
  if (code !== undefined) errors.add(1, { code });
  refused.add(ending === "refused");
  failed.add(!isWell && ending !== "refused");
  return isWell;
}
