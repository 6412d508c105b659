import { join, resolve } from "node:path";
import { invariant } from "@moiety/core";
import { checkMxfp4Shape, parseModelConfig } from "../config/parse-model-config.js";
import { readJsonFile, readJsonFileIfPresent } from "../json/read-json-file.js";
import type { ModelConfig } from "../model-config.js";
import { readSafetensorsSet, type SafetensorsSet } from "../safetensors/safetensors-set.js";
import type { TensorRef } from "../tensor-ref.js";
import type { Checkpoint } from "./checkpoint.js";
import { type FoundCheckpoint, findCheckpoint } from "./find-checkpoint.js";
import { fingerprintOf } from "./fingerprint.js";
import { detectExpertFormat, detectLayout, locateTensors } from "./locate-tensors.js";
import { bytesByRole, countParameters, expertBytesByShard } from "./model-size.js";
import { embeddingName, planCheckpoint, plannedTensors } from "./tensor-plan.js";
import { attentionRefsOf, expertRefsOf } from "./tensor-refs.js";

const MAX_CONFIG_BYTES = 4 * 1024 * 1024;

/**
 * Reads a checkpoint's config.json and safetensors headers and finds every tensor; of the weights only a sample is read. `directory`
 * holds either layout, or a release whose `original/` folder alone has weights. NOT_FOUND if files are missing; INVALID_ARGUMENT,
 * naming file and field or tensor, if anything is damaged, missing, contradictory or not gpt-oss.
 */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const found = await findCheckpoint(resolve(directory));
  const set = await readSafetensorsSet(found.directory);
  const layout = detectLayout(set, found.directory);
  const config = await readConfig(found, set.tensors.get(embeddingName(layout))?.shape[0]);
  const experts = detectExpertFormat(set, layout);
  if (experts === "mxfp4") checkMxfp4Shape(config, "config.json");
  const plan = planCheckpoint({ config, layout, experts });
  const refs = locateTensors(set, plannedTensors(plan));
  const refOf = ({ name }: { readonly name: string }): TensorRef => {
    const ref = refs.get(name);
    invariant(ref !== undefined, `${name} was located`);
    return ref;
  };
  const unexpectedTensors = [...set.tensors.keys()].filter((name) => !refs.has(name)).sort();
  return {
    directory: found.directory,
    config,
    layout,
    expertFormat: experts,
    fingerprint: await fingerprintOf(config, refs.values()),
    attentionRefs: () => attentionRefsOf(plan, config, refOf),
    expertRefs: (layer, expert) => expertRefsOf(plan, { layer, expert, refOf }),
    hasTokenizer: found.tokenizerFile !== undefined,
    tokenizerFile: found.tokenizerFile,
    parameters: countParameters(plan, config),
    bytesByRole: bytesByRole(plan),
    expertBytes: bytesByRole(plan).expert / (config.experts * config.layers),
    shardBytes: (shards) => expertBytesByShard(plan, config, shards),
    files: set.files,
    companionFiles: companionsOf(found, set),
    unexpectedTensors,
    warnings: warningsOf(set, config, unexpectedTensors),
  };
}

function companionsOf(found: FoundCheckpoint, set: SafetensorsSet): readonly string[] {
  const { directory, generationFile, tokenizerFile } = found;
  const files = [join(directory, "config.json"), generationFile, tokenizerFile, set.indexFile];
  return files.filter((file) => file !== undefined);
}

async function readConfig(
  found: { readonly directory: string; readonly generationFile: string | undefined },
  embeddingRows: number | undefined,
): Promise<ModelConfig> {
  const config = await readJsonFile(join(found.directory, "config.json"), { maxBytes: MAX_CONFIG_BYTES });
  const generation =
    found.generationFile === undefined
      ? undefined
      : await readJsonFileIfPresent(found.generationFile, { maxBytes: MAX_CONFIG_BYTES });
  return parseModelConfig({
    config,
    ...(generation === undefined ? {} : { generation }),
    ...(embeddingRows === undefined ? {} : { embeddingRows }),
  });
}

function warningsOf(set: SafetensorsSet, config: ModelConfig, unexpected: readonly string[]): readonly string[] {
  const warnings = [...set.warnings];
  if (unexpected.length > 0) {
    warnings.push(`${unexpected.length} tensors are not part of the architecture and are ignored, such as ${unexpected[0]}`);
  }
  if (config.eosTokenIds.length === 0)
    warnings.push("no stop tokens: neither config.json nor generation_config.json has eos_token_id");
  return warnings;
}
