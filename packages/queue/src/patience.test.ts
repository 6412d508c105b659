import { systemClock } from "@moiety/core";
import { describe, expect, it } from "vitest";
import { patiently } from "./patience.js";

function reply(message: string): Error {
  return Object.assign(new Error(message), { name: "ReplyError" });
}

const fault = (work: Promise<unknown>) =>
  patiently(work, { clock: systemClock, patienceMs: 20 }).catch((error: unknown) => error);

describe("patiently", () => {
  it("gives up on a Redis that does not answer", async () => {
    expect(await fault(new Promise(() => undefined))).toMatchObject({ code: "UNAVAILABLE", message: "redis does not answer" });
  });

  it("tells a Redis that cannot from a command that is wrong, and keeps to itself what Redis said", async () => {
    const loading = await fault(Promise.reject(reply("LOADING Redis is loading the dataset in memory")));
    expect(loading).toMatchObject({ code: "UNAVAILABLE", message: "redis refuses a command" });
    const wrong = await fault(
      Promise.reject(reply("ERR value is not an integer or out of range script: 973a, on @user_script:14.")),
    );
    expect(wrong).toMatchObject({ code: "INTERNAL", message: "redis refuses a command" });
  });
});
