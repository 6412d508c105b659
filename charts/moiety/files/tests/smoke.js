// What `helm test` runs by k6: asks the gateway what it serves, and for a few tokens, whole and as a stream, which must be the same.
import { check } from "k6";
import http from "k6/http";

const { GATEWAY_URL: url, MODEL_NAME: model, API_KEY: key } = __ENV;
const authorization = key ? { authorization: `Bearer ${key}` } : {};
const params = { headers: { "content-type": "application/json", ...authorization }, timeout: "300s" };

export const options = { vus: 1, iterations: 1, thresholds: { checks: ["rate==1"] } };

const ask = (question) => http.post(`${url}/v1/chat/completions`, JSON.stringify(question), params);
const eventsOf = (body) => body.split("\n").flatMap((line) => (line.startsWith("data: ") ? [line.slice(6)] : []));

export default function () {
  const ready = http.get(`${url}/ready`);
  check(ready, { "the gateway is ready": ({ status }) => status === 200 });
  const models = http.get(`${url}/v1/models`, params);
  check(models, {
    "the model is listed": ({ status, body }) => status === 200 && JSON.parse(body).data.some(({ id }) => id === model),
  });
  const question = {
    model,
    messages: [{ role: "user", content: "What is 17 + 25?" }],
    max_completion_tokens: 8,
    temperature: 0,
  };
  const whole = ask(question);
  const textOf = ({ reasoning, content }) => `${reasoning || ""}${content || ""}`;
  const said = whole.status === 200 ? JSON.parse(whole.body) : undefined;
  if (said === undefined) console.error(`/v1/chat/completions answered ${whole.status}: ${String(whole.body).slice(0, 500)}`);
  check(said, { "tokens are generated": (answer) => answer !== undefined && answer.usage.completion_tokens > 0 });
  const events = eventsOf(String(ask({ ...question, stream: true }).body));
  check(events, {
    "a stream ends": (all) => all[all.length - 1] === "[DONE]",
    "a stream says the same": (all) => {
      const deltas = all.slice(0, -1).flatMap((event) => JSON.parse(event).choices.map(({ delta }) => textOf(delta)));
      return said !== undefined && deltas.join("") === textOf(said.choices[0].message);
    },
  });
  if (key) {
    const stranger = http.get(`${url}/v1/models`);
    check(stranger, { "nobody is served without a key": ({ status }) => status === 401 });
  }
}
