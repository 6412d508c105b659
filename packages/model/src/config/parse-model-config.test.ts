import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parseModelConfig } from "./parse-model-config.js";

function goldenConfig(name: string): Record<string, unknown> {
  const path = fileURLToPath(new URL(`../../../testing/fixtures/golden/ckpt/${name}/config.json`, import.meta.url));
  return JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
}

const released = goldenConfig("A");

function without(config: Record<string, unknown>, ...fields: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).filter(([field]) => !fields.includes(field)));
}

const yarn = released["rope_scaling"] as Record<string, unknown>;

/** What newer tools write: no rope_scaling, no top-level rope_theta. */
const newer = { ...without(released, "rope_scaling", "rope_theta"), rope_parameters: { ...yarn, rope_theta: 150_000 } };

/** The config.json of the original format, of the same shape. */
const original = {
  num_hidden_layers: 2,
  num_experts: 8,
  experts_per_token: 4,
  vocab_size: 512,
  hidden_size: 64,
  intermediate_size: 64,
  swiglu_limit: 7,
  head_dim: 64,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  sliding_window: 8,
  initial_context_length: 4096,
  rope_theta: 150_000,
  rope_scaling_factor: 32,
  rope_ntk_alpha: 1,
  rope_ntk_beta: 32,
};

describe("parseModelConfig", () => {
  it("reads every field of the released spelling", () => {
    expect(parseModelConfig({ config: goldenConfig("B") })).toMatchObject({
      layers: 4,
      hiddenSize: 128,
      intermediateSize: 96,
      experts: 16,
      expertsPerToken: 4,
      headDim: 64,
      queryHeads: 8,
      kvHeads: 2,
      vocabSize: 1024,
      slidingWindow: 16,
      attention: ["sliding", "full", "sliding", "full"],
      rope: { theta: 150_000, factor: 16, betaFast: 4, betaSlow: 1, originalContext: 64, truncate: false },
      rmsNormEps: 1e-5,
      swigluLimit: 2.5,
      tiedEmbeddings: false,
    });
  });

  it("reads the same from all three spellings", () => {
    const config = parseModelConfig({ config: released });
    expect(parseModelConfig({ config: newer })).toEqual(config);
    const generation = { eos_token_id: 510, pad_token_id: 511 };
    expect(parseModelConfig({ config: original, generation })).toEqual(config);
  });

  it("joins the stop tokens of both files, without repeating one", () => {
    const config = { ...released, eos_token_id: 510 };
    expect(parseModelConfig({ config, generation: { eos_token_id: [510, 499, 505] } }).eosTokenIds).toEqual([510, 499, 505]);
    expect(parseModelConfig({ config: without(released, "eos_token_id", "pad_token_id") })).toMatchObject({
      eosTokenIds: [],
      padTokenId: undefined,
    });
  });

  it("takes the vocabulary from the embedding where config.json does not have it, and refuses another one", () => {
    expect(parseModelConfig({ config: without(original, "vocab_size"), embeddingRows: 512 }).vocabSize).toBe(512);
    expect(() => parseModelConfig({ config: original, embeddingRows: 600 })).toThrow(/600 contradicts vocab_size, which is 512/);
  });

  it("slides on even layers where the layers are not listed", () => {
    expect(parseModelConfig({ config: { ...without(released, "layer_types"), num_hidden_layers: 3 } }).attention).toEqual([
      "sliding",
      "full",
      "sliding",
    ]);
  });

  it("never takes head_dim for hidden / heads", () => {
    expect(
      parseModelConfig({ config: { ...released, hidden_size: 2880, num_attention_heads: 64, num_key_value_heads: 8 } }).headDim,
    ).toBe(64);
  });

  const withYarn = (change: Record<string, unknown>) => ({ ...released, rope_scaling: { ...yarn, ...change } });

  it.each([
    ["another architecture", { ...released, model_type: "mixtral" }, /model_type: expected "gpt_oss", found "mixtral"/],
    ["another class", { ...released, architectures: ["LlamaForCausalLM"] }, /architectures: expected/],
    ["a file that says nothing of its architecture", { hidden_size: 64 }, /model_type: missing/],
    ["no object", [1], /expected an object, found \[1\]/],
    ["no hidden size", without(released, "hidden_size"), /hidden_size: expected an integer from 1 to 65536, found nothing/],
    ["no head_dim", without(released, "head_dim"), /head_dim: expected .*, found nothing/],
    ["no rms_norm_eps", without(released, "rms_norm_eps"), /rms_norm_eps: missing/],
    ["no longest context", without(released, "max_position_embeddings"), /max_position_embeddings: missing/],
    ["no experts", without(released, "num_local_experts"), /num_local_experts or num_experts: missing/],
    ["text for a number", { ...released, hidden_size: "64" }, /hidden_size: .*found "64"/],
    ["an absurd size", { ...released, num_hidden_layers: 1e9 }, /num_hidden_layers: expected an integer from 1 to 1024/],
    ["a fraction", { ...released, vocab_size: 512.5 }, /vocab_size/],
    ["a size of zero", { ...released, sliding_window: 0 }, /sliding_window/],
    ["no window", { ...released, sliding_window: null }, /sliding_window/],
    [
      "two counts of experts per token",
      { ...released, experts_per_token: 2 },
      /experts_per_token: 2 contradicts num_experts_per_tok, which is 4/,
    ],
    ["two counts of experts", { ...released, num_experts: 9 }, /num_experts: 9 contradicts num_local_experts, which is 8/],
    ["more experts per token than experts", { ...released, num_local_experts: 3 }, /expected at most the 3 experts/],
    [
      "too few layer types",
      { ...released, layer_types: ["full_attention"] },
      /layer_types: expected num_hidden_layers = 2 entries, found 1/,
    ],
    [
      "an unknown layer type",
      { ...released, layer_types: ["full_attention", "linear"] },
      /layer_types\.1: expected .* found "linear"/,
    ],
    [
      "heads that do not divide",
      { ...released, num_attention_heads: 5 },
      /num_attention_heads: expected a multiple of num_key_value_heads = 2/,
    ],
    ["an odd head", { ...released, head_dim: 63 }, /head_dim: expected an even number/],
    ["widths that MXFP4 cannot pack", { ...released, hidden_size: 72 }, /hidden_size: expected a multiple of 32/],
    [
      "another quantisation",
      { ...released, quantization_config: { quant_method: "awq" } },
      /quant_method: expected "mxfp4", found "awq"/,
    ],
    ["projections without bias", { ...released, attention_bias: false }, /attention_bias/],
    ["another activation", { ...released, hidden_act: "gelu" }, /hidden_act: expected "silu"/],
    [
      "a stop token beyond the vocabulary",
      { ...released, eos_token_id: [510, 512] },
      /expected an id below vocab_size = 512, found 512/,
    ],
    ["plain RoPE", without(released, "rope_scaling", "initial_context_length"), /rope_scaling\.factor or .*: missing/],
    ["another RoPE", withYarn({ rope_type: "linear" }), /rope_scaling\.rope_type: expected "yarn", found "linear"/],
    ["no theta", without(released, "rope_theta"), /rope_theta or .*: missing/],
    ["a factor below 1", withYarn({ factor: 0.5 }), /factor/],
    ["betas the wrong way round", withYarn({ beta_fast: 0.5 }), /beta_fast/],
    ["another concentration", withYarn({ attention_factor: 1 }), /attention_factor/],
    ["mscale", withYarn({ mscale: 1 }), /mscale/],
    [
      "spellings that disagree on the factor",
      { ...released, rope_scaling_factor: 16 },
      /rope_scaling_factor: 16 contradicts rope_scaling\.factor/,
    ],
    [
      "spellings that disagree on theta",
      { ...released, rope_parameters: { ...yarn, rope_theta: 10_000 } },
      /10000 contradicts rope_theta/,
    ],
    [
      "spellings that disagree on the context",
      { ...released, initial_context_length: 8192 },
      /8192 contradicts rope_scaling\.original/,
    ],
  ])("refuses %s", (_name, config, message) => {
    expect(() => parseModelConfig({ config })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringMatching(message), retryable: false }),
    );
    expect(() => parseModelConfig({ config })).toThrow(/^config\.json: /);
  });

  it("refuses a malformed generation_config.json by its own name", () => {
    expect(() => parseModelConfig({ config: released, generation: { eos_token_id: "x" } })).toThrow(
      /^generation_config\.json: eos_token_id/,
    );
  });

  it("lists every malformed field at once", () => {
    const config = { ...released, hidden_size: -1, head_dim: "x" };
    expect(() => parseModelConfig({ config })).toThrow(/hidden_size: .*; head_dim: /);
  });
});
