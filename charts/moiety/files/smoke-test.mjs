// What `helm test` runs: asks the gateway whether it is ready, what it serves, and for a few tokens, whole and as a stream.
const { GATEWAY_URL, MODEL_NAME, API_KEY } = process.env;
const PATIENCE_MS = 300_000;
const headers = { "content-type": "application/json", ...(API_KEY && { authorization: `Bearer ${API_KEY}` }) };

async function ask(path, body) {
  const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(`${GATEWAY_URL}${path}`, { headers, signal: AbortSignal.timeout(PATIENCE_MS), ...init });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text.slice(0, 500)}`);
  return text;
}

function expect(what, is) {
  if (!is) throw new Error(`expected ${what}`);
  console.log(`ok: ${what}`);
}

try {
  const ready = JSON.parse(await ask("/ready"));
  expect("the gateway is ready", ready.status === "ready");
  const { data } = JSON.parse(await ask("/v1/models"));
  expect(
    `the model ${MODEL_NAME} is listed`,
    data.some(({ id }) => id === MODEL_NAME),
  );
  const question = {
    model: MODEL_NAME,
    messages: [{ role: "user", content: "What is 17 + 25?" }],
    max_completion_tokens: 8,
    temperature: 0,
  };
  const { usage } = JSON.parse(await ask("/v1/chat/completions", question));
  expect("tokens are generated", usage.completion_tokens > 0);
  const events = await ask("/v1/chat/completions", { ...question, stream: true });
  expect("a stream ends", events.trimEnd().endsWith("data: [DONE]"));
} catch (error) {
  console.error(`failed: ${error.cause?.message ? `${error.message}: ${error.cause.message}` : error.message}`);
  process.exit(1);
}
