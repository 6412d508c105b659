#include "model-shape.h"

#include <cmath>

#include "fault.h"

namespace moiety {
namespace {

void check_range(const char* field, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most) {
    invalid_argument(format("config.%s is %lld; %lld to %lld was expected", field, static_cast<long long>(value),
                            static_cast<long long>(least), static_cast<long long>(most)));
  }
}

void check_positive(const char* field, double value) {
  if (!(value > 0) || !std::isfinite(value)) invalid_argument(format("config.%s is %g; a positive number was expected", field, value));
}

}  // namespace

void check_shape(const ModelShape& shape) {
  check_range("layers", shape.layers, 1, 4096);
  check_range("hiddenSize", shape.hidden, 1, 1 << 20);
  check_range("intermediateSize", shape.intermediate, 1, 1 << 20);
  check_range("experts", shape.experts, 1, 65536);
  check_range("expertsPerToken", shape.experts_per_token, 1, shape.experts < 64 ? shape.experts : 64);
  check_range("headDim", shape.head_dim, 2, 4096);
  check_range("queryHeads", shape.query_heads, 1, 4096);
  check_range("kvHeads", shape.kv_heads, 1, shape.query_heads);
  check_range("vocabSize", shape.vocab, 1, 1 << 24);
  check_range("slidingWindow", shape.sliding_window, 1, INT32_MAX);
  check_range("maxContext", shape.max_context, 1, INT32_MAX);
  if (shape.head_dim % 2 != 0) invalid_argument("config.headDim must be even");
  if (shape.query_heads % shape.kv_heads != 0) invalid_argument("config.queryHeads must be a multiple of config.kvHeads");
  if (static_cast<int64_t>(shape.sliding.size()) != shape.layers) invalid_argument("config.attention must have one entry per layer");
  check_positive("rope.theta", shape.rope.theta);
  check_positive("rope.factor", shape.rope.factor);
  check_positive("rope.betaFast", shape.rope.beta_fast);
  check_positive("rope.betaSlow", shape.rope.beta_slow);
  check_positive("rope.originalContext", shape.rope.original_context);
  check_positive("rmsNormEps", static_cast<double>(shape.rms_norm_eps));
  check_positive("swigluLimit", static_cast<double>(shape.swiglu_limit));
}

}  // namespace moiety
