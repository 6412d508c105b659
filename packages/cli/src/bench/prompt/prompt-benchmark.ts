import { benchPrompts, type PromptTimes } from "@moiety/gateway";
import { DEFAULT_MODEL_FOLDER } from "../../cluster/default-model.js";
import type { BenchmarkOptions, BenchmarkResult } from "../benchmark.js";
import { median, spreadOf } from "../quantiles.js";
import { formatTable, short } from "../table.js";

const FULL = { tokens: 10_000, repetitions: 41 };
const QUICK = { tokens: 1_000, repetitions: 3 };

/** Measures how a chat becomes tokens. */
export async function benchmarkPrompt({ quick, checkpoint = DEFAULT_MODEL_FOLDER }: BenchmarkOptions): Promise<BenchmarkResult> {
  const settings = quick ? QUICK : FULL;
  const chats = await benchPrompts({ checkpoint, ...settings });
  return { text: format(chats), figures: { ...settings, chats } };
}

function format(chats: readonly PromptTimes[]): string {
  const header = ["chat", "tokens", "prompt p50 ms", "p99 ms", "tokenizer alone p50 ms", "ratio"];
  const lines = chats.map(({ chat, tokens, promptMs, encodeMs }) => {
    const prompt = spreadOf(promptMs);
    const encode = median(encodeMs);
    return [chat, String(tokens), short(prompt.median), short(prompt.p99), short(encode), `${short(prompt.median / encode)}x`];
  });
  return formatTable(header, lines);
}
