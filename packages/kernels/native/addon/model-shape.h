// The shape of the model, as native code needs it.
#pragma once
#include <cstdint>
#include <vector>

namespace moiety {

// With int8, rows are bf16 wherever they are stored or sent; experts quantise them to multiply.
enum class Activation { f32, bf16, int8 };

inline bool rounds_to_bf16(Activation activation) { return activation != Activation::f32; }
inline int64_t element_bytes(Activation activation) { return rounds_to_bf16(activation) ? 2 : 4; }

struct RopeShape {
  double theta;
  double factor;
  double beta_fast;
  double beta_slow;
  double original_context;
  bool truncate;
};

struct ModelShape {
  int64_t layers;
  int64_t hidden;
  int64_t intermediate;
  int64_t experts;
  int64_t experts_per_token;
  int64_t head_dim;
  int64_t query_heads;
  int64_t kv_heads;
  int64_t vocab;
  int64_t sliding_window;
  int64_t max_context;
  // One entry per layer.
  std::vector<bool> sliding;
  RopeShape rope;
  float rms_norm_eps;
  float swiglu_limit;

  int64_t query_width() const { return query_heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
};

// Throws Fault INVALID_ARGUMENT naming the field.
void check_shape(const ModelShape& shape);

}  // namespace moiety
