import { createServer, type Server } from "node:http";
import { PassThrough, Readable } from "node:stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ChatSession } from "./chat-session.js";
import { chatInTerminal } from "./terminal-chat.js";

/** A gateway that thinks "hm", and answers with how many messages it was sent and the last one's text. */
let server: Server;
let url: string;
beforeAll(async () => {
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.url === "/v1/models")
        return response.setHeader("content-type", "application/json").end('{"data":[{"id":"tiny"}]}');
      const { messages } = JSON.parse(Buffer.concat(chunks).toString()) as { messages: { content: string }[] };
      const last = messages.at(-1)?.content ?? "";
      if (last === "fail") {
        return response.writeHead(400, { "content-type": "application/json" }).end('{"error":{"message":"no such thing"}}');
      }
      response.setHeader("content-type", "text/event-stream");
      const say = (delta: object) => response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta }] })}\n\n`);
      say({ reasoning: "hm" });
      say({ content: `${messages.length}: ` });
      say({ content: last });
      return response.end("data: [DONE]\n\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
});
afterAll(() => server.close());

async function chat(lines: readonly string[], options: { showReasoning?: boolean; colours?: boolean; base?: string } = {}) {
  const output = new PassThrough();
  let text = "";
  output.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  const { showReasoning = true, colours = false, base = url } = options;
  const finished = chatInTerminal({
    session: new ChatSession({ url: base }),
    input: Readable.from(lines.map((line) => `${line}\n`)),
    output,
    interactive: false,
    colours,
    showReasoning,
  });
  await finished;
  return text;
}

it("answers every line of a pipe, and remembers the conversation", async () => {
  expect(await chat(["one", "", "two"], { showReasoning: false })).toBe("1: one\n3: two\n");
});

it("forgets at /reset, leaves at /quit, and knows no other command", async () => {
  const lines = ["one", "/reset", "two", "/nonsense", "/quit", "three"];
  expect(await chat(lines, { showReasoning: false })).toMatch(/^1: one\nforgotten\n1: two\nthere is no \/nonsense: .*\n$/);
});

it("shows thoughts apart from the answer, dimmed where there are colours", async () => {
  expect(await chat(["one"])).toBe("hm\n\n1: one\n");
  expect(await chat(["one"], { colours: true })).toBe("\u001b[2mhm\u001b[0m\n\n1: one\n");
});

it("ends with what the API said when a pipe's message is refused", async () => {
  await expect(chat(["fail"])).rejects.toThrow(`${url} answered: 400 no such thing`);
});

it("says that nobody answers at an address", async () => {
  await expect(chat(["one"], { base: "http://127.0.0.1:1" })).rejects.toThrow(
    "cannot reach http://127.0.0.1:1; is a cluster running",
  );
});
