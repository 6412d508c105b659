import { AppError } from "@moiety/core";
import OpenAI from "openai";
import { z } from "zod";

export interface ChatSettings {
  /** Base of the API, without `/v1`. */
  readonly url: string;
  readonly apiKey?: string;
  /** Default: the first model that the API lists. */
  readonly model?: string;
  /** Instructions that stand before every conversation. */
  readonly system?: string;
  readonly reasoningEffort?: "low" | "medium" | "high";
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly seed?: number;
}

export interface ChatDelta {
  readonly kind: "reasoning" | "text";
  readonly text: string;
}

/** What gateways send beside OpenAI's own fields: thoughts go by either name. */
const deltaSchema = z.object({
  content: z.string().nullish(),
  reasoning: z.string().nullish(),
  reasoning_content: z.string().nullish(),
});

/** A conversation with any OpenAI-compatible gateway. */
export class ChatSession {
  private readonly settings: ChatSettings;
  private readonly client: OpenAI;
  private model: string | undefined;
  private messages: OpenAI.ChatCompletionMessageParam[] = [];

  constructor(settings: ChatSettings) {
    this.settings = settings;
    this.client = new OpenAI({ baseURL: `${settings.url}/v1`, apiKey: settings.apiKey ?? "none", maxRetries: 1 });
    this.model = settings.model;
    this.reset();
  }

  /** Forgets all but the instructions. */
  reset(): void {
    this.messages = this.settings.system === undefined ? [] : [{ role: "system", content: this.settings.system }];
  }

  /** The model that answers. @throws AppError when the API cannot be reached or lists none. */
  async modelName(): Promise<string> {
    if (this.model !== undefined) return this.model;
    try {
      const listed = await this.client.models.list();
      this.model = listed.data[0]?.id;
    } catch (error) {
      throw fromApi(error, this.settings.url);
    }
    if (this.model === undefined) throw new AppError("NOT_FOUND", `${this.settings.url} lists no model; name one with --model`);
    return this.model;
  }

  /**
   * The answer to a message, as it comes. What was said before the signal stopped it is remembered; a message that failed is not.
   * @throws AppError when the API refuses or the connection breaks.
   */
  async *ask(question: string, signal: AbortSignal): AsyncGenerator<ChatDelta> {
    const model = await this.modelName();
    const before = this.messages;
    this.messages = [...before, { role: "user", content: question }];
    let answer = "";
    try {
      const stream = await this.client.chat.completions.create(this.requestFor(model), { signal });
      for await (const chunk of stream) {
        const delta = deltaSchema.safeParse(chunk.choices[0]?.delta).data;
        const reasoning = delta?.reasoning ?? delta?.reasoning_content ?? "";
        if (reasoning !== "") yield { kind: "reasoning", text: reasoning };
        const text = delta?.content ?? "";
        answer += text;
        if (text !== "") yield { kind: "text", text };
      }
    } catch (error) {
      if (!signal.aborted) {
        this.messages = before;
        throw fromApi(error, this.settings.url);
      }
    }
    this.messages = [...this.messages, { role: "assistant", content: answer }];
  }

  private requestFor(model: string): OpenAI.ChatCompletionCreateParamsStreaming {
    const { reasoningEffort, maxTokens, temperature, seed } = this.settings;
    return {
      model,
      messages: this.messages,
      stream: true,
      ...(reasoningEffort === undefined ? {} : { reasoning_effort: reasoningEffort }),
      ...(maxTokens === undefined ? {} : { max_completion_tokens: maxTokens }),
      ...(temperature === undefined ? {} : { temperature }),
      ...(seed === undefined ? {} : { seed }),
    };
  }
}

function fromApi(error: unknown, url: string): AppError {
  if (error instanceof OpenAI.APIConnectionError) {
    return new AppError("UNAVAILABLE", `cannot reach ${url}; is a cluster running (moiety up)?`, { cause: error });
  }
  if (error instanceof OpenAI.APIError) return new AppError("UNKNOWN", `${url} answered: ${error.message}`, { cause: error });
  return AppError.from(error, "UNAVAILABLE");
}
