import { describe, expect, it } from "vitest";
import { activationFor } from "./activation.js";

describe("activationFor", () => {
  it("is int8 where the checkpoint can have it, and bf16 elsewhere, unless another is asked for", () => {
    expect(activationFor("auto", "mxfp4")).toBe("int8");
    expect(activationFor("auto", "bf16")).toBe("bf16");
    expect(activationFor("bf16", "mxfp4")).toBe("bf16");
    expect(activationFor("f32", "mxfp4")).toBe("f32");
    // Refused when an expert is loaded, rather than silently replaced.
    expect(activationFor("int8", "bf16")).toBe("int8");
  });
});
