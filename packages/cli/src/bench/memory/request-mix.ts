/** One request of the mix, and how its client behaves. */
export interface MixedRequest {
  readonly kind: string;
  readonly path: string;
  /** Absent: a GET. */
  readonly body?: object;
  readonly status: number;
  /** The client leaves once it has the first bytes. */
  readonly leaves?: boolean;
}

export const MODEL = "bench";
const CHAT = "/v1/chat/completions";
const RESPONSES = "/v1/responses";

const asked = (index: number) => ({ model: MODEL, messages: [{ role: "user", content: `What is number ${index}?` }] });

/** A schema that no request before had, so that caches of grammars turn over. */
const schemaOf = (index: number) => ({
  type: "object",
  properties: { [`field_${index}`]: { type: "string", maxLength: 20 }, count: { type: "integer" } },
  required: ["count"],
  additionalProperties: false,
});

const toolsOf = (index: number) => [
  {
    type: "function",
    function: { name: `get_${index}`, description: `Gets number ${index}.`, parameters: schemaOf(index), strict: true },
  },
];

type Kind = (index: number) => Omit<MixedRequest, "kind">;

/** What needs the grammar engine is left out where there is none. */
export function requestMix(hasGrammar: boolean): (index: number) => MixedRequest {
  const kinds: Record<string, Kind> = {
    chat: (index) => ({ path: CHAT, status: 200, body: { ...asked(index), max_tokens: 12 } }),
    "chat, streamed": (index) => ({
      path: CHAT,
      status: 200,
      body: { ...asked(index), max_tokens: 16, stream: true, stream_options: { include_usage: true } },
    }),
    "chat of two choices": (index) => ({
      path: CHAT,
      status: 200,
      body: { ...asked(index), max_tokens: 8, n: 2, stop: ["never"] },
    }),
    completion: (index) => ({
      path: "/v1/completions",
      status: 200,
      body: {
        model: MODEL,
        prompt: `Number ${index}`,
        max_tokens: 8,
        stream: true,
        user: `user-${index}`,
        cache_salt: `salt-${index}`,
      },
    }),
    response: (index) => ({
      path: RESPONSES,
      status: 200,
      body: { model: MODEL, input: `Number ${index}`, max_output_tokens: 16, stream: true, metadata: { number: String(index) } },
    }),
    "response that is not stored": (index) => ({
      path: RESPONSES,
      status: 200,
      body: { model: MODEL, input: `Number ${index}`, max_output_tokens: 12, store: false },
    }),
    "client that leaves": (index) => ({
      path: CHAT,
      status: 200,
      leaves: true,
      body: { ...asked(index), max_tokens: 64, stream: true },
    }),
    "bad request": (index) => ({ path: CHAT, status: 400, body: { ...asked(index), temperature: index + 3 } }),
    tokenize: (index) => ({ path: "/tokenize", status: 200, body: asked(index) }),
    models: () => ({ path: "/v1/models", status: 200 }),
    ...(hasGrammar ? grammarKinds : {}),
  };
  const entries = Object.entries(kinds);
  return (index) => {
    const [kind, make] = entries[index % entries.length] ?? entries[0] ?? (["", () => ({ path: "/", status: 404 })] as const);
    return { kind, ...make(index) };
  };
}

const grammarKinds: Record<string, Kind> = {
  "chat with a strict tool": (index) => ({
    path: CHAT,
    status: 200,
    body: { ...asked(index), max_tokens: 12, tools: toolsOf(index) },
  }),
  "chat with a schema": (index) => ({
    path: CHAT,
    status: 200,
    body: {
      ...asked(index),
      max_tokens: 12,
      stream: true,
      response_format: { type: "json_schema", json_schema: { name: "own", schema: schemaOf(index), strict: true } },
    },
  }),
};
