import { setTimeout as sleep } from "node:timers/promises";
import OpenAI, { toFile } from "openai";
import type { Batch, BatchCreateParams } from "openai/resources/batches";

export interface ResultLine {
  readonly id: string;
  readonly custom_id: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly response: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly error: any;
}

const ENDED = ["failed", "completed", "expired", "cancelled"];

/** Batches as a user has them: through the official client. */
export class BatchClient {
  readonly openai: OpenAI;

  constructor(url: string, apiKey = "unused-key") {
    this.openai = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
  }

  async upload(lines: readonly (object | string)[], purpose: "batch" | "user_data" = "batch"): Promise<string> {
    const text = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n");
    const file = await toFile(Buffer.from(text), "in.jsonl");
    return (await this.openai.files.create({ file, purpose })).id;
  }

  /** Uploads requests with the ids `r1`, `r2`, ... and begins to work on them. */
  async begin(bodies: readonly object[], options: { endpoint?: string; window?: string } = {}): Promise<Batch> {
    const endpoint = (options.endpoint ?? "/v1/completions") as BatchCreateParams["endpoint"];
    const lines = bodies.map((body, index) => ({ custom_id: `r${index + 1}`, method: "POST", url: endpoint, body }));
    return this.create(await this.upload(lines), { ...options, endpoint });
  }

  create(inputFileId: string, options: { endpoint?: string; window?: string } = {}): Promise<Batch> {
    return this.openai.batches.create({
      input_file_id: inputFileId,
      endpoint: (options.endpoint ?? "/v1/completions") as BatchCreateParams["endpoint"],
      completion_window: (options.window ?? "24h") as "24h",
      metadata: { purpose: "test" },
    });
  }

  async until(id: string, holds: (batch: Batch) => boolean, timeoutMs = 15_000): Promise<Batch> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      const batch = await this.openai.batches.retrieve(id);
      if (holds(batch)) return batch;
      if (performance.now() > endMs) throw new Error(`waited in vain: ${JSON.stringify(batch)}`);
      await sleep(50);
    }
  }

  ended(id: string, timeoutMs?: number): Promise<Batch> {
    return this.until(id, ({ status }) => ENDED.includes(status), timeoutMs);
  }

  /** The lines of a result file, by their number in the input. */
  async results(fileId: string | null | undefined): Promise<readonly ResultLine[]> {
    if (!fileId) return [];
    const text = await (await this.openai.files.content(fileId)).text();
    const lines: ResultLine[] = text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line));
    const numberOf = ({ custom_id }: ResultLine) => Number(custom_id.slice(1));
    return lines.sort((a, b) => numberOf(a) - numberOf(b));
  }
}

/** `r1` to `r<count>`. */
export const customIds = (count: number): string[] => Array.from({ length: count }, (_, index) => `r${index + 1}`);
