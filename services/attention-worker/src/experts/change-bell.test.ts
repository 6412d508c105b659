import { describe, expect, it } from "vitest";
import { ChangeBell } from "./change-bell.js";

describe("ChangeBell", () => {
  it("tells everyone who waits, once", async () => {
    const bell = new ChangeBell();
    const waits = [bell.next(), bell.next()];
    bell.ring();
    await Promise.all(waits.map(({ promise }) => promise));
    expect(bell.waiting).toBe(0);
  });

  it("does not ring for those who come later", async () => {
    const bell = new ChangeBell();
    bell.ring();
    expect(await Promise.race([bell.next().promise.then(() => "rang"), Promise.resolve("silent")])).toBe("silent");
  });

  it("keeps nothing of those who gave up", () => {
    const bell = new ChangeBell();
    for (let turn = 0; turn < 1_000; turn++) bell.next().forget();
    expect(bell.waiting).toBe(0);
  });
});
