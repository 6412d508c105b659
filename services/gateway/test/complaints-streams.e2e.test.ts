import { Agent, type IncomingMessage, request } from "node:http";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../../../packages/queue/test/redis-server.js";
import { GatewayFixture } from "./gateway-fixture.js";

/** What users of routers complained of with many streams. `docs/complaints.md` says where it comes from. */

const STREAMS = 2_000;
const PATIENCE_MS = 120_000;

let fixture: GatewayFixture;
const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });
beforeAll(async () => {
  fixture = await GatewayFixture.start(
    "harmony",
    { MOIETY_MAX_STREAMS: "4096", MOIETY_MAX_REQUESTS: "4096" },
    { capacity: STREAMS },
  );
});
afterAll(async () => {
  agent.destroy();
  await fixture?.close();
});

const textOf = (stream: number) => `This is stream ${stream} of ${STREAMS}.`;

/** What a client of one stream reads, to its end. */
function read(stream: number): Promise<string> {
  const body = JSON.stringify({ prompt: String(stream), max_tokens: 200, stream: true });
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const call = request(`${fixture.url}/v1/completions`, { method: "POST", agent, headers }, (response: IncomingMessage) => {
      let sent = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        sent += chunk;
      });
      response.once("error", reject);
      response.once("end", () => {
        const events = sent.split("\n\n").filter((event) => event.startsWith("data: {"));
        const texts = events.map((event) => JSON.parse(event.slice(6)).choices[0]?.text ?? "");
        if (response.statusCode === 200 && sent.endsWith("data: [DONE]\n\n")) resolve(texts.join(""));
        else reject(new Error(`stream ${stream}: ${response.statusCode}: ${sent.slice(-200)}`));
      });
    });
    call.once("error", reject);
    call.end(body);
  });
}

it(
  "2,000 streams at once crash nothing: all are open at one time, and each gets its own tokens",
  async () => {
    const texts = await Promise.all(Array.from({ length: STREAMS }, (_, stream) => fixture.ids(textOf(stream))));
    let open: () => void = () => undefined;
    const all = new Promise<void>((resolve) => {
      open = resolve;
    });
    fixture.worker.script = ({ record }) => ({
      tokens: texts[Number(fixture.tokenizer.decode(record.promptTokens))] ?? [],
      stride: 8,
      before: () => all,
    });
    const streams = Promise.all(Array.from({ length: STREAMS }, (_, stream) => read(stream)));
    streams.catch(open);
    await until(() => fixture.worker.claims.length === STREAMS, PATIENCE_MS);
    const load = await fixture.request("/load");
    open();
    expect(load.body).toEqual({ server_load: STREAMS });
    const received = await streams;
    expect(received.filter((text, stream) => text !== textOf(stream))).toEqual([]);
    await until(async () => (await fixture.request("/load")).body.server_load === 0);
    expect(await read(7)).toBe(textOf(7));
  },
  2 * PATIENCE_MS,
);
