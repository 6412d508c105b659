const ONLY_TEXT = "gpt-oss reads and writes text";
const STORED = "this server keeps responses only";

/** What OpenAI's API and vLLM's have and this server has not: where, and why. The first that fits is said. */
const UNSUPPORTED: readonly (readonly [path: RegExp, why: string])[] = [
  [/^\/v1\/embeddings$|^\/pooling$/, `${ONLY_TEXT}: embeddings are not available`],
  [/^\/v1\/images$/, `${ONLY_TEXT}: images are not available`],
  [/^\/v1\/audio$/, `${ONLY_TEXT}: audio is not available`],
  [/^\/v1\/videos$/, `${ONLY_TEXT}: videos are not available`],
  [/^\/v1\/realtime$/, `${ONLY_TEXT}: realtime sessions are not available`],
  [/^\/v1\/moderations$/, "gpt-oss is no classifier of content: moderations are not available"],
  [/^(\/v[12])?\/(rerank|score)$|^\/classify$/, "gpt-oss scores no documents: reranking, scores and classes are not available"],
  [/^\/v1\/(fine_tuning|fine-tunes)$/, "this server does not train: fine-tuning is not available"],
  [/^\/v1\/(evals|graders)$/, "evaluations are not available"],
  [/^\/v1\/edits$/, "deprecated in OpenAI's API and not available: use /v1/chat/completions"],
  [/^\/v1\/engines$/, "deprecated in OpenAI's API and not available: use /v1/models"],
  [/^\/v1\/responses\/compact$/, "contexts are not compacted here"],
  [/^\/v1\/responses\/input_tokens$/, "not available: POST /tokenize counts the tokens of a chat"],
  [/^\/v1\/messages$/, "Anthropic's API is not available: use /v1/chat/completions"],
  [/^\/v1\/chat\/completions$/, `${STORED}: chat completions cannot be read again`],
  [
    /^\/v1\/(batches|files)$/,
    "not available here: files and batches have OpenAI's paths only, and none without MOIETY_FILES_DIR or MOIETY_FILES_S3_URL",
  ],
  [/^\/v1\/uploads$/, "uploads in parts are not available: use /v1/files"],
  [
    /^\/v1\/(conversations|assistants|threads|vector_stores|containers)$/,
    `${STORED}: conversations, assistants and their stores are not available`,
  ],
];

/** Why a path, or one above it, is not served; undefined for one that nobody has. */
export function whyUnsupported(path: string): string | undefined {
  const parts = path.split("/");
  const above = parts.slice(1, 5).map((_, index) => parts.slice(0, index + 2).join("/"));
  return UNSUPPORTED.find(([pattern]) => above.some((place) => pattern.test(place)))?.[1];
}
