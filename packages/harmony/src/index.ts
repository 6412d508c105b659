export { HarmonyError } from "./harmony-error.js";
export type { MessageHeader, Role } from "./header.js";
export * from "./message.js";
export * from "./parser.js";
export * from "./render.js";
export { REPAIR_KINDS, type RepairCounts, type RepairKind } from "./repairs.js";
export * from "./special-tokens.js";
export * from "./tokens.js";
export type { HarmonyEvent, MessageEnd, ParserInput, StopReason } from "./transition.js";
