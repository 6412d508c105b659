import { AppError, parseWorkerId } from "@moiety/core";
import { ActivationType, type Hello, type ModelIdentity, WorkerKind } from "@moiety/proto";
import { MAX_EXPERTS, MAX_LAYERS, parseAddress, parsePlacement } from "@moiety/runtime";
import type { Introduction } from "./cluster.js";
import type { ClusterIdentity } from "./membership/roster.js";

/** Leaves a router that goes on from it numbers for as long as any cluster lives. */
const MAX_HEARD_EPOCH = 0xf000_0000;
const MAX_HEARD_TERM = 0xf000_0000;

/**
 * Turns a Hello into what the cluster understands.
 * @throws AppError INVALID_ARGUMENT that names the field.
 */
export function parseHello(hello: Hello): Introduction {
  const identity = parseIdentity(hello.model);
  const kind = parseKind(hello.kind);
  if (kind === "expert" && hello.capacitySlots === 0) fail("capacity_slots must be at least 1 for an expert worker");
  if ((hello.placement?.epoch ?? 0) > MAX_HEARD_EPOCH) fail(`placement.epoch must be at most ${MAX_HEARD_EPOCH}`);
  if (hello.routerTerm > MAX_HEARD_TERM) fail(`router_term must be at most ${MAX_HEARD_TERM}`);
  return {
    profile: {
      id: parseWorkerId(hello.workerId),
      incarnation: parseText("incarnation", hello.incarnation),
      kind,
      address: parseAddress(hello.address),
      capacitySlots: kind === "expert" ? hello.capacitySlots : 0,
    },
    identity,
    placement: hello.placement === undefined ? undefined : parsePlacement(hello.placement, identity),
  };
}

function parseIdentity(model: ModelIdentity | undefined): ClusterIdentity {
  if (model === undefined) return fail("model is missing");
  if (!/^[0-9a-f]{64}$/.test(model.fingerprint)) fail("model.fingerprint must be a SHA-256 in lower-case hex");
  parseCount("model.layers", model.layers, MAX_LAYERS);
  parseCount("model.experts", model.experts, MAX_EXPERTS);
  parseCount("model.experts_per_token", model.expertsPerToken, model.experts);
  parseCount("model.hidden_size", model.hiddenSize, 1 << 20);
  const { fingerprint, layers, hiddenSize, experts, expertsPerToken } = model;
  const kernelFamily = parseText("model.kernel_family", model.kernelFamily);
  return { fingerprint, layers, hiddenSize, experts, expertsPerToken, activation: parseActivation(model), kernelFamily };
}

function parseActivation(model: ModelIdentity): "f32" | "bf16" {
  if (model.activation === ActivationType.ACTIVATION_TYPE_F32) return "f32";
  if (model.activation === ActivationType.ACTIVATION_TYPE_BF16) return "bf16";
  return fail("model.activation must be F32 or BF16");
}

function parseKind(kind: WorkerKind): "attention" | "expert" {
  if (kind === WorkerKind.WORKER_KIND_ATTENTION) return "attention";
  if (kind === WorkerKind.WORKER_KIND_EXPERT) return "expert";
  return fail("kind must be ATTENTION or EXPERT");
}

function parseText(field: string, text: string): string {
  return text.length >= 1 && text.length <= 128 ? text : fail(`${field} must be 1 to 128 characters`);
}

function parseCount(field: string, value: number, max: number): void {
  if (value < 1 || value > max) fail(`${field} must be 1 to ${max}`);
}

function fail(message: string): never {
  throw new AppError("INVALID_ARGUMENT", `hello: ${message}`);
}
