// The side of the queue that serves requests; forked by queue-benchmark.ts.
import { type Claim, createRequestConsumer, serveBullAlone } from "@moiety/queue";
import { ownCpuSeconds } from "../gateway/cpu-meters.js";
import { nowMs, streamOfPrompt } from "../gateway/stream-prompt.js";
import { type FarEndAnswer, farEndSettingsSchema } from "./queue-messages.js";

const { redisUrl, capacity, tokens, bullAlone } = farEndSettingsSchema.parse(JSON.parse(process.argv[2] ?? "{}"));
let claimed: [request: number, atMs: number][] = [];
let done = 0;
process.once("disconnect", () => process.exit(0));
process.on("message", () => {
  const answer: FarEndAnswer = { claimed, done, cpuSeconds: ownCpuSeconds() };
  claimed = [];
  process.send?.(answer);
});

async function serve(claim: Claim): Promise<void> {
  claimed.push([streamOfPrompt(claim.record.promptTokens), nowMs()]);
  for (let index = 0; index < tokens; index++) await claim.append(index, [{ token: index }]);
  await claim.finish({
    reason: "length",
    promptTokens: claim.record.promptTokens.length,
    cachedTokens: 0,
    outputTokens: tokens,
    queueMs: 0,
    prefillMs: 0,
    decodeMs: 0,
  });
  done += 1;
}

if (bullAlone) {
  await serveBullAlone(redisUrl, capacity, () => {
    done += 1;
  });
} else {
  const consumer = createRequestConsumer({ redisUrl, capacity });
  await consumer.start((claim) => {
    serve(claim).catch((error: unknown) => console.error(error));
  });
}
process.send?.("ready");
