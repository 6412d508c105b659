import { invariant } from "@moiety/core";
import type { TensorRef } from "../tensor-ref.js";

/** Rows `start .. start + count` along dimension 0: the bytes of one range, the other dimensions as they are. */
export function sliceRows(ref: TensorRef, start: number, count: number): TensorRef {
  const [rows = 0, ...rest] = ref.shape;
  invariant(start >= 0 && count >= 0 && start + count <= rows, `rows ${start}..${start + count} lie within ${ref.name}`);
  const rowBytes = rows === 0 ? 0 : ref.lengthBytes / rows;
  return {
    ...ref,
    shape: [count, ...rest],
    offsetBytes: ref.offsetBytes + start * rowBytes,
    lengthBytes: count * rowBytes,
  };
}

/** Entry `index` of dimension 0, which the result no longer has. */
export function sliceEntry(ref: TensorRef, index: number): TensorRef {
  const slice = sliceRows(ref, index, 1);
  return { ...slice, shape: slice.shape.slice(1) };
}
