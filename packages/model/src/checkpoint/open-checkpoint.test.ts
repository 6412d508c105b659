import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import type { TensorRef } from "../tensor-ref.js";
import { openCheckpoint } from "./open-checkpoint.js";

const golden = (name: string) => fileURLToPath(new URL(`../../../testing/fixtures/golden/ckpt/${name}`, import.meta.url));

function bytesOf({ file, offsetBytes, lengthBytes }: TensorRef): Buffer {
  return readFileSync(file).subarray(offsetBytes, offsetBytes + lengthBytes);
}

describe("openCheckpoint on the golden checkpoints", () => {
  it.each(["A", "A-sharded", "A-bf16", "B"])("opens %s without a warning", async (name) => {
    const checkpoint = await openCheckpoint(golden(name));
    expect(checkpoint.warnings).toEqual([]);
    expect(checkpoint.unexpectedTensors).toEqual([]);
    expect(checkpoint.layout).toBe("huggingface");
    expect(checkpoint.hasTokenizer).toBe(false);
    expect(checkpoint.expertFormat).toBe(name === "A-bf16" ? "bf16" : "mxfp4");
  });

  it("finds the same tensors in one file and in three", async () => {
    const [one, three] = await Promise.all([openCheckpoint(golden("A")), openCheckpoint(golden("A-sharded"))]);
    expect(three.files).toHaveLength(3);
    expect(three.fingerprint).toBe(one.fingerprint);
    const [a, b] = [one.attentionRefs(), three.attentionRefs()];
    expect(bytesOf(b.embedding).equals(bytesOf(a.embedding))).toBe(true);
    for (const expert of [0, 3, 7]) {
      const [left, right] = [one.expertRefs(1, expert), three.expertRefs(1, expert)];
      if (left.gateUp.kind !== "mxfp4" || right.gateUp.kind !== "mxfp4") throw new Error("expected packed experts");
      expect(bytesOf(right.gateUp.blocks).equals(bytesOf(left.gateUp.blocks))).toBe(true);
      expect(bytesOf(right.downBias).equals(bytesOf(left.downBias))).toBe(true);
    }
  });

  it("tells different weights apart by their fingerprint", async () => {
    const checkpoints = await Promise.all(["A", "A-bf16", "B"].map((name) => openCheckpoint(golden(name))));
    expect(new Set(checkpoints.map(({ fingerprint }) => fingerprint)).size).toBe(3);
  });

  it("slices one expert out of dimension 0", async () => {
    const checkpoint = await openCheckpoint(golden("B"));
    const { gateUp, gateUpBias, down, downBias } = checkpoint.expertRefs(3, 15);
    if (gateUp.kind !== "mxfp4" || down.kind !== "mxfp4") throw new Error("expected packed experts");
    expect(gateUp.blocks.shape).toEqual([192, 4, 16]);
    expect(gateUp.scales.shape).toEqual([192, 4]);
    expect(gateUpBias.shape).toEqual([192]);
    expect(down.blocks.shape).toEqual([128, 3, 16]);
    expect(downBias.lengthBytes).toBe(256);
    const whole = checkpoint.expertRefs(3, 0).gateUp;
    if (whole.kind !== "mxfp4") throw new Error("expected packed experts");
    expect(gateUp.blocks.offsetBytes - whole.blocks.offsetBytes).toBe(15 * gateUp.blocks.lengthBytes);
  });

  it("accounts for every byte of the data", async () => {
    const checkpoint = await openCheckpoint(golden("A-sharded"));
    const total = Object.values(checkpoint.bytesByRole).reduce((sum, bytes) => sum + bytes, 0);
    expect(total).toBe(443_312);
    expect(checkpoint.shardBytes(3).reduce((sum, bytes) => sum + bytes, 0)).toBe(checkpoint.bytesByRole.expert);
    expect(checkpoint.expertBytes * 16).toBe(checkpoint.bytesByRole.expert);
  });

  it("refuses an expert that the model does not have", async () => {
    const checkpoint = await openCheckpoint(golden("A"));
    expect(() => checkpoint.expertRefs(0, 8)).toThrow(expect.objectContaining({ code: "OUT_OF_RANGE" }));
    expect(() => checkpoint.expertRefs(2, 0)).toThrow(expect.objectContaining({ code: "OUT_OF_RANGE" }));
  });
});
