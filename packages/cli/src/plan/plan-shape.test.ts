import { describe, expect, it } from "vitest";
import { releasedShape, shapeFromConfig } from "./plan-shape.js";

const GB = 1e9;

describe("releasedShape", () => {
  const of120b = releasedShape("120b");
  const of20b = releasedShape("20b");

  it("has the released checkpoints' bytes", () => {
    expect(of120b.expertBytes).toBe(13_236_480);
    expect(of20b.expertBytes).toBe(13_236_480);
    expect((of120b.expertBytes * 36 * 128) / GB).toBeCloseTo(60.99, 2);
    expect(of120b.attentionWorkerBytes / GB).toBeCloseTo(4.26, 2);
    expect(of20b.attentionWorkerBytes / GB).toBeCloseTo(3.6, 2);
    expect((of120b.attentionWorkerBytes + of120b.expertBytes * 36 * 128) / 2 ** 30).toBeCloseTo(60.77, 2);
    expect((of20b.attentionWorkerBytes + of20b.expertBytes * 24 * 32) / 2 ** 30).toBeCloseTo(12.82, 2);
    expect(of20b.unembeddingBytes / GB).toBeCloseTo(1.158, 3);
    expect(of120b.layerBytes / 1e6).toBeCloseTo(53.8, 0);
  });

  it("has 36,864 bytes of keys and values per token in 120b's full layers, and 4.72 MB in the sliding ones", () => {
    expect((of120b.layers - of120b.slidingLayers) * of120b.positionBytes).toBe(36_864);
    expect(of120b.slidingLayers * of120b.slidingWindow * of120b.positionBytes).toBe(4_718_592);
  });

  it.each([
    ["120b", 10.27],
    ["20b", 7.22],
  ] as const)("%s needs the published operations for a token", (name, gflop) => {
    const shape = releasedShape(name);
    expect(shape.pairFlops).toBe(49_766_400);
    const perLayer = shape.rowFlops + shape.expertsPerToken * shape.pairFlops;
    expect((shape.layers * perLayer + shape.drawFlops) / GB).toBeCloseTo(gflop, 1);
  });

  it("can be a slice of a released model", () => {
    const slice = releasedShape("20b", { layers: 4, vocabSize: 32_768 });
    expect(slice.layerBytes).toBe(of20b.layerBytes);
    expect(slice.drawFlops).toBe(2 * 32_768 * 2_880);
  });
});

describe("shapeFromConfig", () => {
  /** As the original release's config.json gives it. */
  const original = {
    num_hidden_layers: 24,
    num_experts: 32,
    experts_per_token: 4,
    vocab_size: 201_088,
    hidden_size: 2_880,
    intermediate_size: 2_880,
    swiglu_limit: 7,
    head_dim: 64,
    num_attention_heads: 64,
    num_key_value_heads: 8,
    sliding_window: 128,
    initial_context_length: 4_096,
    rope_theta: 150_000,
    rope_scaling_factor: 32,
    rope_ntk_alpha: 1,
    rope_ntk_beta: 32,
  };

  it("is the released shape for the released config", () => {
    expect(shapeFromConfig(original)).toEqual(releasedShape("20b"));
  });

  it("counts four times the bytes for unquantised experts", () => {
    const { rope_scaling_factor: _factor, rope_ntk_alpha: _alpha, rope_ntk_beta: _beta, ...rest } = original;
    const rope_scaling = { rope_type: "yarn", factor: 32, beta_fast: 32, beta_slow: 1, original_max_position_embeddings: 4_096 };
    const config = { ...rest, rope_scaling, rms_norm_eps: 1e-5, max_position_embeddings: 131_072 };
    const shape = shapeFromConfig({ ...config, model_type: "gpt_oss" });
    expect(shape.expertFormat).toBe("bf16");
    expect(shape.expertBytes).toBe(2 * 3 * 2_880 * 2_880 + 2 * (5_760 + 2_880));
    const quantised = shapeFromConfig({ ...config, model_type: "gpt_oss", quantization_config: { quant_method: "mxfp4" } });
    expect(quantised.expertBytes).toBe(13_236_480);
  });

  it("names the field that is wrong", () => {
    expect(() => shapeFromConfig({ ...original, hidden_size: "wide" })).toThrow(/config\.json.*hidden_size/);
  });
});
