import OpenAI from "openai";
import { afterAll, beforeAll } from "vitest";
import { openSubject, type Subject } from "../cluster.mjs";
import { batchFeatures } from "./node/batches.js";
import { chatFeatures } from "./node/chat.js";
import { completionFeatures } from "./node/completions.js";
import { errorAndHeaderFeatures } from "./node/errors.js";
import { fileFeatures } from "./node/files.js";
import { formatFeatures } from "./node/formats.js";
import { responseFeatures } from "./node/responses.js";
import { storedResponseFeatures } from "./node/stored-responses.js";
import { toolFeatures } from "./node/tools.js";

const PATIENCE_MS = 120_000;

let subject: Subject;
let client: OpenAI;
beforeAll(async () => {
  subject = await openSubject();
  client = new OpenAI({ baseURL: `${subject.url}/v1`, apiKey: subject.key });
}, PATIENCE_MS);
afterAll(() => subject?.stop(), PATIENCE_MS);

for (const features of [
  chatFeatures,
  toolFeatures,
  formatFeatures,
  completionFeatures,
  responseFeatures,
  storedResponseFeatures,
  fileFeatures,
  batchFeatures,
  errorAndHeaderFeatures,
]) {
  features(() => ({ client, model: subject.model, url: subject.url }));
}
