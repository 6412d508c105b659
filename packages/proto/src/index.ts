export { ActivationType, ModelIdentity } from "./generated/moiety/v1/common.js";
export {
  Assignment,
  ControlServiceClient,
  type ControlServiceServer,
  ControlServiceService,
  Hello,
  LayerExperts,
  LayerLoad,
  Placement,
  PlacementState,
  RouterMessage,
  Welcome,
  WorkerKind,
  WorkerMessage,
  WorkerStatus,
} from "./generated/moiety/v1/control.js";
export {
  AttentionServiceClient,
  type AttentionServiceServer,
  AttentionServiceService,
  DispatchRows,
  ExpertServiceClient,
  type ExpertServiceServer,
  ExpertServiceService,
  ResultRows,
  Subscribe,
} from "./generated/moiety/v1/expert.js";
export * from "./model-identity.js";
export * from "./row-codec.js";
export { ROW_ALIGNMENT_BYTES } from "./row-frame.js";
export * from "./row-services.js";
