import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { collectSse, openSse, SseParser } from "./sse-stream.js";

const text = 'id: 1\nevent: start\ndata: {"a":1}\n\n: a comment\r\ndata: one\r\ndata: two\r\n\r\ndata:[DONE]\n\n';
const expected = [
  { event: "start", id: "1", data: '{"a":1}' },
  { event: "", id: "1", data: "one\ntwo" },
  { event: "", id: "1", data: "[DONE]" },
];

describe("the parser of event streams", () => {
  it("gives the same events wherever the text is cut", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: text.length }), { maxLength: 6 }), (cuts) => {
        const parser = new SseParser();
        const edges = [0, ...cuts.sort((a, b) => a - b), text.length];
        const chunks = edges.slice(1).map((end, index) => text.slice(edges[index], end));
        expect(chunks.flatMap((chunk) => parser.push(chunk))).toEqual(expected);
      }),
    );
  });
});

describe("the client of event streams", () => {
  let close: (() => void) | undefined;
  afterEach(() => close?.());

  async function serve(status: number, type: string, chunks: readonly string[], gapMs: number): Promise<string> {
    const server = createServer(async (_request, response) => {
      response.writeHead(status, { "content-type": type });
      for (const chunk of chunks) {
        response.write(chunk);
        await sleep(gapMs);
      }
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    close = () => server.close();
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  }

  it("notes when each event arrived", async () => {
    const url = await serve(200, "text/event-stream", ["data: a\n\n", "data: b\n\n"], 120);
    const response = await openSse(url, { body: {} });
    const [first, second] = await collectSse(response.events);
    expect([first?.data, second?.data]).toEqual(["a", "b"]);
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThan(60);
  });

  it("gives the body of an answer that is no stream", async () => {
    const response = await openSse(await serve(429, "application/json", ['{"error":1}'], 0), { body: {} });
    expect(response).toMatchObject({ status: 429, body: '{"error":1}' });
    expect(await collectSse(response.events)).toEqual([]);
  });
});
