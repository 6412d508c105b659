import { AppError } from "@moiety/core";
import type { SafetensorsSet } from "../safetensors/safetensors-set.js";
import type { TensorRef } from "../tensor-ref.js";
import { type CheckpointLayout, type ExpertFormat, embeddingName, firstExpertName, type PlannedTensor } from "./tensor-plan.js";

const DTYPE_NAME = { bf16: "BF16", u8: "U8", f32: "F32" } as const;

/** Recognises a checkpoint's layout by its embedding's name. */
export function detectLayout(set: SafetensorsSet, directory: string): CheckpointLayout {
  const found = (["huggingface", "original"] as const).filter((layout) => set.tensors.has(embeddingName(layout)));
  const [layout] = found;
  if (layout !== undefined && found.length === 1) return layout;
  const expected = `${embeddingName("huggingface")} or ${embeddingName("original")}`;
  const problem = layout === undefined ? `no tensor ${expected}` : `expected ${expected}, found both`;
  throw new AppError("INVALID_ARGUMENT", `${directory}: ${problem}`, { details: { directory } });
}

/** Recognises packed or unquantised experts by the tensors of layer 0. */
export function detectExpertFormat(set: SafetensorsSet, layout: CheckpointLayout): ExpertFormat {
  const packed = firstExpertName(layout, "mxfp4");
  const plain = firstExpertName(layout, "bf16");
  const [hasPacked, hasPlain] = [set.tensors.has(packed), set.tensors.has(plain)];
  if (hasPacked !== hasPlain && !(hasPlain && layout === "original")) return hasPacked ? "mxfp4" : "bf16";
  const problem =
    hasPlain && layout === "original" ? `${plain} is not packed, expected ${packed}` : `expected ${packed} or ${plain}`;
  throw new AppError("INVALID_ARGUMENT", hasPacked && hasPlain ? `${problem}, found both` : problem, {
    details: { tensor: packed },
  });
}

/** Where the planned tensors lie. INVALID_ARGUMENT naming the tensor if one is missing or has another dtype or shape. */
export function locateTensors(set: SafetensorsSet, planned: readonly PlannedTensor[]): ReadonlyMap<string, TensorRef> {
  return new Map(planned.map((plan) => [plan.name, locateTensor(set, plan)]));
}

function locateTensor(set: SafetensorsSet, { name, dtype, shape }: PlannedTensor): TensorRef {
  const expected = `${DTYPE_NAME[dtype]} [${shape.join(", ")}]`;
  const found = set.tensors.get(name);
  if (found === undefined) {
    throw new AppError("INVALID_ARGUMENT", `tensor ${name} is missing; expected ${expected}`, { details: { tensor: name } });
  }
  const sameShape = found.shape.length === shape.length && found.shape.every((size, axis) => size === shape[axis]);
  if (found.dtype !== DTYPE_NAME[dtype] || !sameShape) {
    throw new AppError(
      "INVALID_ARGUMENT",
      `${found.path}: tensor ${name}: expected ${expected}, as config.json says, found ${found.dtype} [${found.shape.join(", ")}]`,
      { details: { file: found.path, tensor: name } },
    );
  }
  return { file: found.path, name, dtype, shape, offsetBytes: found.offsetBytes, lengthBytes: found.lengthBytes };
}
