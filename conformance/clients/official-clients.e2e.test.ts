import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, it, vi } from "vitest";
import { openSubject, type Subject } from "../cluster.mjs";
import { agreementFeatures } from "./node/agreement.js";
import { batchFeatures } from "./node/batches.js";
import { chatFeatures } from "./node/chat.js";
import { completionFeatures } from "./node/completions.js";
import { errorAndHeaderFeatures } from "./node/errors.js";
import { fileFeatures } from "./node/files.js";
import { formatFeatures } from "./node/formats.js";
import { responseFeatures } from "./node/responses.js";
import { storedResponseFeatures } from "./node/stored-responses.js";
import { toolFeatures } from "./node/tools.js";
import { pythonCheck, pythonWithClient } from "./openai-python.mjs";

const PATIENCE_MS = 120_000;
vi.setConfig({ testTimeout: PATIENCE_MS });

let subject: Subject;
let client: OpenAI;
beforeAll(async () => {
  subject = await openSubject();
  client = new OpenAI({ baseURL: `${subject.url}/v1`, apiKey: subject.key });
}, PATIENCE_MS);
afterAll(() => subject?.stop(), PATIENCE_MS);

describe("the official Node client", () => {
  for (const features of [
    chatFeatures,
    toolFeatures,
    formatFeatures,
    completionFeatures,
    responseFeatures,
    storedResponseFeatures,
    agreementFeatures,
    fileFeatures,
    batchFeatures,
    errorAndHeaderFeatures,
  ]) {
    features(() => ({ client, model: subject.model }));
  }
});

const python = pythonWithClient();
const reason =
  python === undefined
    ? " (skipped: no python3 has the packages openai and pydantic; `npm run conformance -- python` sets one up)"
    : "";

describe.skipIf(python === undefined)(`the official Python client${reason}`, () => {
  it(
    "finds every feature",
    async () => {
      const { command, env } = pythonCheck(python ?? "", subject);
      const [program = "", ...given] = command;
      const child = spawn(program, given, { env: { ...process.env, ...env }, stdio: ["ignore", "ignore", "pipe"] });
      const exit = new Promise((resolve) => child.once("exit", resolve));
      const said = await text(child.stderr);
      if ((await exit) !== 0) throw new Error(said);
    },
    2 * PATIENCE_MS,
  );
});
