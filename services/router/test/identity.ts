import { ActivationType, type ModelIdentity } from "@moiety/proto";
import { createLogger } from "@moiety/runtime";

/** What every worker of these tests says that it serves. */
export const model: ModelIdentity = {
  fingerprint: "a".repeat(64),
  layers: 2,
  hiddenSize: 64,
  experts: 8,
  expertsPerToken: 4,
  activation: ActivationType.ACTIVATION_TYPE_BF16,
  kernelFamily: "cpu-1",
};

export const logger = createLogger({ service: "test", instance: "test", level: "silent" });
