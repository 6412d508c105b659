import { ActivationType, type ModelIdentity } from "./generated/moiety/v1/common.js";

export interface IdentitySource {
  readonly fingerprint: string;
  readonly config: {
    readonly layers: number;
    readonly hiddenSize: number;
    readonly experts: number;
    readonly expertsPerToken: number;
  };
  /** int8 is a matter of the kernels' family: its rows are bf16. */
  readonly activation: "f32" | "bf16" | "int8";
  readonly kernelFamily: string;
}

/** What this process tells others about the model that it serves. */
export function modelIdentity(source: IdentitySource): ModelIdentity {
  const { layers, hiddenSize, experts, expertsPerToken } = source.config;
  return {
    fingerprint: source.fingerprint,
    layers,
    hiddenSize,
    experts,
    expertsPerToken,
    activation: source.activation === "f32" ? ActivationType.ACTIVATION_TYPE_F32 : ActivationType.ACTIVATION_TYPE_BF16,
    kernelFamily: source.kernelFamily,
  };
}

/** Bytes of one row of activations; 0 for an activation type that nobody knows. */
export function rowBytesOf(identity: ModelIdentity): number {
  switch (identity.activation) {
    case ActivationType.ACTIVATION_TYPE_F32:
      return identity.hiddenSize * 4;
    case ActivationType.ACTIVATION_TYPE_BF16:
      return identity.hiddenSize * 2;
    default:
      return 0;
  }
}

const FIELDS = ["fingerprint", "layers", "hiddenSize", "experts", "expertsPerToken", "activation", "kernelFamily"] as const;

/** Says which field keeps two processes from exchanging rows; absent when they agree. Texts of the peer are clipped. */
export function identityMismatch(ours: ModelIdentity, theirs: ModelIdentity | undefined): string | undefined {
  if (theirs === undefined) return "model identity is missing";
  const field = FIELDS.find((name) => ours[name] !== theirs[name]);
  if (field === undefined) return undefined;
  const show = (value: string | number) => JSON.stringify(typeof value === "string" ? value.slice(0, 80) : value);
  return `model identities differ in ${field}: ${show(ours[field])} here, ${show(theirs[field])} at the peer`;
}
