import { expect, it } from "vitest";
import { casesFor } from "./eval.js";

const forA = { name: "A_007", tokens: [1], checkpoint: "A" };
const forB = { name: "B_007", tokens: [1], checkpoint: "B" };
const forAny = { name: "x", tokens: [1] };

it("takes the cases of the checkpoint, and those that name none", () => {
  expect(casesFor([forA, forB, forAny], "B")).toEqual([forB, forAny]);
});

it("says which checkpoints there are cases for when none is left", () => {
  expect(() => casesFor([forA, forB], "A-sharded")).toThrow(
    "no case is for the checkpoint A-sharded; choose one with --for: A, B",
  );
});
