import type { ErrorCode } from "@moiety/core";
import type { DispatchRows, ModelIdentity } from "@moiety/proto";

/** Why a call is refused. */
export interface CallFault {
  readonly code: ErrorCode;
  readonly message: string;
}

export interface CallFacts {
  readonly model: ModelIdentity;
  /** Bytes of one row of activations. */
  readonly rowBytes: number;
  readonly maxRows: number;
  /** The newest placement that this worker knows; 0 before the first. */
  readonly newestEpoch: number;
  holds(layer: number, expert: number): boolean;
}

export interface CheckedPairs {
  readonly rows: Uint16Array;
  readonly experts: Uint16Array;
}

/**
 * Checks a call against the model first (INVALID_ARGUMENT: it can never succeed) and then against the placement
 * (FAILED_PRECONDITION: not here, not now). A call by an older placement is served for as long as its experts are held:
 * the result does not depend on the epoch.
 */
export function checkCall(call: DispatchRows, facts: CallFacts): CheckedPairs | CallFault {
  const shapeFault = checkShape(call, facts);
  if (shapeFault !== undefined) return invalid(shapeFault);
  if (call.epoch > facts.newestEpoch) {
    return notHere(`epoch: placement ${call.epoch} is not known here yet, the newest is ${facts.newestEpoch}`);
  }
  const rows = new Uint16Array(call.pairCount);
  const experts = new Uint16Array(call.pairCount);
  const { pairs } = call;
  const held = new Uint8Array(facts.model.experts);
  for (let pair = 0; pair < call.pairCount; pair += 1) {
    const at = pair * 4;
    const row = (pairs[at] as number) | ((pairs[at + 1] as number) << 8);
    const expert = (pairs[at + 2] as number) | ((pairs[at + 3] as number) << 8);
    if (row >= call.rowCount) return invalid(`pairs[${pair}].row: expected less than ${call.rowCount}, got ${row}`);
    if (expert >= facts.model.experts) {
      return invalid(`pairs[${pair}].expert: expected less than ${facts.model.experts}, got ${expert}`);
    }
    if (held[expert] === 0) {
      if (!facts.holds(call.layer, expert)) {
        return notHere(`expert ${expert} of layer ${call.layer} is not held here under placement ${facts.newestEpoch}`);
      }
      held[expert] = 1;
    }
    rows[pair] = row;
    experts[pair] = expert;
  }
  return { rows, experts };
}

function checkShape(call: DispatchRows, { model, rowBytes, maxRows }: CallFacts): string | undefined {
  const { layer, rowCount, pairCount } = call;
  if (call.epoch === 0) return "epoch: expected at least 1, got 0";
  if (layer >= model.layers) return `layer: expected less than ${model.layers}, got ${layer}`;
  if (rowCount < 1 || rowCount > maxRows) return `row_count: expected 1 to ${maxRows}, got ${rowCount}`;
  if (call.rows.length !== rowCount * rowBytes) {
    return `rows: expected ${rowCount} rows of ${rowBytes} bytes, got ${call.rows.length} bytes`;
  }
  const maxPairs = rowCount * model.expertsPerToken;
  if (pairCount < 1 || pairCount > maxPairs) return `pair_count: expected 1 to ${maxPairs}, got ${pairCount}`;
  if (call.pairs.length !== pairCount * 4) return `pairs: expected ${pairCount * 4} bytes, got ${call.pairs.length}`;
  return undefined;
}

function invalid(message: string): CallFault {
  return { code: "INVALID_ARGUMENT", message };
}

function notHere(message: string): CallFault {
  return { code: "FAILED_PRECONDITION", message };
}
