#include "attention-engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "fault.h"
#include "linear-phase.h"

namespace moiety {
namespace {

// Rows whose logits are computed together: bounds the memory for them to 64 vocabularies.
constexpr int64_t kLogitRows = 64;
// More than processors address; sums of pools up to here do not overflow.
constexpr int64_t kMaxKvBytes = int64_t{1} << 57;

void check_kv(const KvPoolShape& kv) {
  if (kv.page_tokens < 1 || kv.page_tokens > 1 << 16) invalid_argument("kv.pageTokens must be 1 to 65536");
  if (kv.full_pages < 0 || kv.full_pages > INT32_MAX) invalid_argument("kv.fullPages must be 0 to 2147483647");
  if (kv.sliding_pages < 0 || kv.sliding_pages > INT32_MAX) invalid_argument("kv.slidingPages must be 0 to 2147483647");
}

}  // namespace

AttentionEngine::AttentionEngine(FileRegistry& files, const KernelTable& kernels, ModelShape shape, const AttentionRefs& refs,
                                 Activation activation, KvPoolShape kv, int loading_threads)
    : kernels_(kernels),
      shape_(std::move(shape)),
      activation_(activation),
      kv_(kv),
      rope_(make_rope_table(shape_.rope, shape_.head_dim)),
      round_(rounds_to_bf16(activation)),
      loading_threads_(loading_threads),
      normed_(kernels, round_ ? pair_kernels(kernels.name) : nullptr),
      attended_(kernels, round_ ? pair_kernels(kernels.name) : nullptr) {
  check_kv(kv_);
  if (static_cast<int64_t>(refs.layers.size()) != shape_.layers) {
    invalid_argument(format("refs.layers has %zu entries; config.layers is %lld", refs.layers.size(), static_cast<long long>(shape_.layers)));
  }
  const int64_t hidden = shape_.hidden;
  embedding_ = take(files, refs.embedding, {shape_.vocab, hidden});
  for (int64_t index = 0; index < shape_.layers; ++index) {
    const AttentionLayerRefs& from = refs.layers[static_cast<size_t>(index)];
    Layer layer;
    layer.attention_norm = take(files, from.attention_norm, {hidden});
    layer.query = take_linear(files, from.query, shape_.query_width(), hidden);
    layer.key = take_linear(files, from.key, shape_.kv_width(), hidden);
    layer.value = take_linear(files, from.value, shape_.kv_width(), hidden);
    layer.output = take_linear(files, from.output, hidden, shape_.query_width());
    layer.sinks = take(files, from.sinks, {shape_.query_heads});
    layer.mlp_norm = take(files, from.mlp_norm, {hidden});
    layer.router = take_linear(files, from.router, shape_.experts, hidden);
    layer.sliding = shape_.sliding[static_cast<size_t>(index)];
    layers_.push_back(std::move(layer));
  }
  final_norm_ = take(files, refs.final_norm, {hidden});
  unembedding_ = take_linear(files, refs.unembedding, nullptr, shape_.vocab, hidden);
  reserve_kv();
}

AttentionEngine::~AttentionEngine() {
  if (kv_memory_ != nullptr) ::munmap(kv_memory_, static_cast<size_t>(kv_bytes_));
}

MappedTensor AttentionEngine::take(FileRegistry& files, const TensorRef& ref, const std::vector<int64_t>& shape) {
  MappedTensor tensor = map_tensor(files, ref, "bf16", shape);
  tensor.populate();
  weights_bytes_ += tensor.length();
  return tensor;
}

DenseLinear AttentionEngine::take_linear(FileRegistry& files, const TensorRef& weight, const TensorRef* bias, int64_t out, int64_t in) {
  DenseLinear linear;
  linear.weight = round_ ? map_tensor(files, weight, "bf16", {out, in}) : take(files, weight, {out, in});
  if (bias != nullptr) linear.bias = take(files, *bias, {out});
  linear.plain = {linear.weight.data(), linear.bias.data(), in, out};
  if (round_) {
    weights_bytes_ += linear.weight.length();
    pack(linear, loading_threads_);
  }
  return linear;
}

DenseLinear AttentionEngine::take_linear(FileRegistry& files, const LinearRefs& refs, int64_t out, int64_t in) {
  return take_linear(files, refs.weight, &refs.bias, out, in);
}

// One reservation for all pools; the system gives memory to a page when it is first written.
void AttentionEngine::reserve_kv() {
  const int64_t page_bytes = kv_.page_tokens * shape_.kv_width() * element_bytes(activation_);
  const int64_t most_pages = kMaxKvBytes / page_bytes / shape_.layers / 2;
  if (std::max(kv_.full_pages, kv_.sliding_pages) > most_pages) {
    throw Fault("RESOURCE_EXHAUSTED", format("kv: pools of %lld and %lld pages of %lld bytes in each of %lld layers are beyond any memory",
                                             static_cast<long long>(kv_.full_pages), static_cast<long long>(kv_.sliding_pages),
                                             static_cast<long long>(page_bytes), static_cast<long long>(shape_.layers)));
  }
  const auto pool_bytes = [&](const Layer& layer) {
    const int64_t bytes = (layer.sliding ? kv_.sliding_pages : kv_.full_pages) * page_bytes;
    return (bytes + 4095) / 4096 * 4096;
  };
  for (const Layer& layer : layers_) kv_bytes_ += 2 * pool_bytes(layer);
  if (kv_bytes_ > 0) {
    void* const memory = ::mmap(nullptr, static_cast<size_t>(kv_bytes_), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw Fault("RESOURCE_EXHAUSTED", format("cannot reserve %lld bytes for the KV pools", static_cast<long long>(kv_bytes_)));
    kv_memory_ = memory;
  }
  auto* at = static_cast<uint8_t*>(kv_memory_);
  for (Layer& layer : layers_) {
    layer.keys = {at, kv_.page_tokens, shape_.kv_heads, shape_.head_dim, round_};
    at += pool_bytes(layer);
    layer.values = {at, kv_.page_tokens, shape_.kv_heads, shape_.head_dim, round_};
    at += pool_bytes(layer);
  }
}

void AttentionEngine::attend(Team& team, Batch& batch, int64_t layer_index) {
  const Layer& layer = layers_[static_cast<size_t>(layer_index)];
  thread_floats_.set_threads(team.threads());
  if (layer_index == 0) embed(team, batch);
  if (batch.cos.empty()) failed_precondition(format("attend: layer %lld of a batch that has not been through layer 0", static_cast<long long>(layer_index)));
  project(team, batch, layer);
  write_kv(team, batch, layer);
  attend_rows(team, batch, layer);
  add_output(team, batch, layer);
  gate(team, batch, layer);
}

void AttentionEngine::embed(Team& team, Batch& batch) {
  const int64_t half = shape_.head_dim / 2;
  batch.cos.resize(static_cast<size_t>(batch.rows() * half));
  batch.sin.resize(static_cast<size_t>(batch.rows() * half));
  const Slices slices = row_slices(batch.rows(), shape_.hidden, team.threads());
  team.parallel(slices.count(), [&](int64_t slice, int) {
    for (int64_t row = slices.begin(slice); row < slices.end(slice); ++row) {
      const int64_t token = batch.tokens[static_cast<size_t>(row)];
      kernels_.from_bf16(embedding_.data() + token * shape_.hidden * 2, batch.residual() + row * shape_.hidden, shape_.hidden);
      rope_.at(batch.position_of(row), &batch.cos[static_cast<size_t>(row * half)], &batch.sin[static_cast<size_t>(row * half)]);
    }
  });
}

// Norm, then query, key and value side by side in one row of `projected_`.
void AttentionEngine::project(Team& team, const Batch& batch, const Layer& layer) {
  const int64_t hidden = shape_.hidden;
  const int64_t rows = batch.rows();
  const int64_t width = shape_.query_width() + 2 * shape_.kv_width();
  normed_.need(rows, hidden);
  float* const projected = projected_.need(rows * width);
  const Slices norm_slices = row_slices(rows, hidden, team.threads());
  team.parallel(norm_slices.count(), [&](int64_t slice, int) {
    for (int64_t row = norm_slices.begin(slice); row < norm_slices.end(slice); ++row) {
      kernels_.rms_norm(batch.residual() + row * hidden, layer.attention_norm.data(), hidden, shape_.rms_norm_eps, normed_.row(row), round_);
      normed_.put(row, 0, hidden);
    }
  });

  const DenseLinear* const linears[3] = {&layer.query, &layer.key, &layer.value};
  const int64_t offsets[3] = {0, shape_.query_width(), shape_.query_width() + shape_.kv_width()};
  const Slices query_slices = column_slices(shape_.query_width(), team.threads());
  const Slices kv_slices = column_slices(shape_.kv_width(), team.threads(), 3);
  const int64_t query_count = query_slices.count();
  const int64_t kv_count = kv_slices.count();
  team.parallel(query_count + 2 * kv_count, [&](int64_t index, int) {
    const int64_t which = index < query_count ? 0 : 1 + (index - query_count) / kv_count;
    const Slices& slices = which == 0 ? query_slices : kv_slices;
    const int64_t slice = which == 0 ? index : (index - query_count) % kv_count;
    normed_.multiply(*linears[which], {projected + offsets[which], rows, width}, slices.begin(slice), slices.end(slice), round_);
  });
}

// Rotates queries and keys, and stores keys and values; every row of the batch before any row attends.
void AttentionEngine::write_kv(Team& team, const Batch& batch, const Layer& layer) {
  const int64_t kv_width = shape_.kv_width();
  const int64_t width = shape_.query_width() + 2 * kv_width;
  const int64_t half = shape_.head_dim / 2;
  const int64_t bytes = element_bytes(activation_);
  const auto store = [&](const KvPages& pages, int64_t slot, const float* from) {
    uint8_t* const to = static_cast<uint8_t*>(pages.data) + slot * kv_width * bytes;
    if (round_) {
      kernels_.to_bf16(from, to, kv_width);
    } else {
      std::memcpy(to, from, static_cast<size_t>(kv_width * bytes));
    }
  };
  const Slices slices = row_slices(batch.rows(), width, team.threads());
  team.parallel(slices.count(), [&](int64_t slice, int) {
    for (int64_t row = slices.begin(slice); row < slices.end(slice); ++row) {
      float* const query = projected_.data() + row * width;
      float* const key = query + shape_.query_width();
      const float* const cos = &batch.cos[static_cast<size_t>(row * half)];
      const float* const sin = &batch.sin[static_cast<size_t>(row * half)];
      kernels_.rope(query, shape_.query_heads, shape_.head_dim, cos, sin, round_);
      kernels_.rope(key, shape_.kv_heads, shape_.head_dim, cos, sin, round_);
      const SequenceRows& sequence = batch.sequence_of(row);
      const int64_t position = batch.position_of(row);
      const int64_t block = position / kv_.page_tokens;
      const int64_t page = layer.sliding ? sequence.sliding_pages[static_cast<size_t>(block - sequence.sliding_first_block)]
                                         : sequence.full_pages[static_cast<size_t>(block)];
      const int64_t slot = page * kv_.page_tokens + position % kv_.page_tokens;
      store(layer.keys, slot, key);
      store(layer.values, slot, key + kv_width);
    }
  });
}

void AttentionEngine::attend_rows(Team& team, const Batch& batch, const Layer& layer) {
  const int64_t rows = batch.rows();
  const int64_t width = shape_.query_width() + 2 * shape_.kv_width();
  const int64_t group = shape_.query_heads / shape_.kv_heads;
  const int64_t group_width = group * shape_.head_dim;
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape_.head_dim)));
  attended_.need(rows, shape_.query_width());
  // Neighbouring rows of one kv head come one after the other: they read the same keys and values.
  const int64_t tasks = rows * shape_.kv_heads;
  const Slices slices{tasks, std::max<int64_t>(1, tasks / (team.threads() * 16))};
  team.parallel(slices.count(), [&](int64_t slice, int thread) {
    for (int64_t task = slices.begin(slice); task < slices.end(slice); ++task) {
      const int64_t row = task % rows;
      const int64_t kv_head = task / rows;
      const SequenceRows& sequence = batch.sequence_of(row);
      const int64_t position = batch.position_of(row);
      AttentionRow view{sequence.full_pages.data(), 0, 0, position};
      if (layer.sliding) {
        view = {sequence.sliding_pages.data(), sequence.sliding_first_block, std::max<int64_t>(0, position - shape_.sliding_window + 1), position};
      }
      float* const scores = thread_floats_.need(thread, group * (position - view.first_visible + 1));
      kernels_.attention(view, layer.keys, layer.values, kv_head, projected_.data() + row * width + kv_head * group_width, group, scale,
                         layer.sinks.data() + kv_head * group * 2, attended_.row(row) + kv_head * group_width, scores, round_);
      attended_.put(row, kv_head * group_width, group_width);
    }
  });
}

void AttentionEngine::add_output(Team& team, const Batch& batch, const Layer& layer) {
  const int64_t rows = batch.rows();
  const int64_t hidden = shape_.hidden;
  const Slices slices = column_slices(hidden, team.threads());
  team.parallel(slices.count(), [&](int64_t slice, int thread) {
    const int64_t begin = slices.begin(slice);
    const int64_t end = slices.end(slice);
    const int64_t columns = end - begin;
    float* const out = thread_floats_.need(thread, rows * columns);
    // The kernel writes column o at y + o: the slice's own buffer starts at column `begin`.
    attended_.multiply(layer.output, {out - begin, rows, columns}, begin, end, false);
    for (int64_t row = 0; row < rows; ++row) kernels_.add(batch.residual() + row * hidden + begin, out + row * columns, columns);
  });
}

void AttentionEngine::gate(Team& team, Batch& batch, const Layer& layer) {
  const int64_t rows = batch.rows();
  const int64_t hidden = shape_.hidden;
  const int64_t experts = shape_.experts;
  normed_.need(rows, hidden);
  float* const logits = router_logits_.need(rows * experts);
  const Slices norm_slices = row_slices(rows, hidden, team.threads());
  team.parallel(norm_slices.count(), [&](int64_t slice, int) {
    for (int64_t row = norm_slices.begin(slice); row < norm_slices.end(slice); ++row) {
      float* const out = normed_.row(row);
      kernels_.rms_norm(batch.residual() + row * hidden, layer.mlp_norm.data(), hidden, shape_.rms_norm_eps, out, round_);
      normed_.put(row, 0, hidden);
      uint8_t* const stored = batch.normed() + row * row_bytes();
      if (round_) {
        kernels_.to_bf16(out, stored, hidden);
      } else {
        std::memcpy(stored, out, static_cast<size_t>(row_bytes()));
      }
    }
  });
  linear_phase(team, layer.router, normed_, {logits, rows, experts}, false);
  const int64_t k = shape_.experts_per_token;
  const Slices top_slices = row_slices(rows, experts * 8, team.threads());
  team.parallel(top_slices.count(), [&](int64_t slice, int) {
    for (int64_t row = top_slices.begin(slice); row < top_slices.end(slice); ++row) {
      kernels_.top_k_softmax(logits + row * experts, experts, k, batch.ids() + row * k, batch.weights() + row * k);
    }
  });
}

void AttentionEngine::combine(Team& team, Batch& batch, const ExpertRowPointers& pointers) {
  const int64_t k = shape_.experts_per_token;
  const Slices slices = row_slices(batch.rows(), shape_.hidden * k, team.threads());
  team.parallel(slices.count(), [&](int64_t slice, int) {
    for (int64_t row = slices.begin(slice); row < slices.end(slice); ++row) {
      kernels_.combine(batch.residual() + row * shape_.hidden, &pointers[static_cast<size_t>(row * k)], batch.weights() + row * k, k,
                       shape_.hidden, round_);
    }
  });
}

void AttentionEngine::final_norm(Team& team, const Batch& batch, const int32_t* rows, int64_t count) {
  const int64_t hidden = shape_.hidden;
  normed_.need(count, hidden);
  const Slices slices = row_slices(count, hidden, team.threads());
  team.parallel(slices.count(), [&](int64_t slice, int) {
    for (int64_t i = slices.begin(slice); i < slices.end(slice); ++i) {
      kernels_.rms_norm(batch.residual() + rows[i] * hidden, final_norm_.data(), hidden, shape_.rms_norm_eps, normed_.row(i), round_);
      normed_.put(i, 0, hidden);
    }
  });
}

void AttentionEngine::logits(Team& team, const Batch& batch, const std::vector<int32_t>& rows, float* out) {
  const int64_t count = static_cast<int64_t>(rows.size());
  final_norm(team, batch, rows.data(), count);
  linear_phase(team, unembedding_, normed_, {out, count, shape_.vocab}, false);
}

std::vector<SampleOutcome> AttentionEngine::sample(Team& team, const Batch& batch, const std::vector<SampleRequest>& requests) {
  for (const SampleRequest& request : requests) check_tokens(request, shape_.vocab);
  std::vector<SampleOutcome> outcomes(requests.size());
  const int64_t total = static_cast<int64_t>(requests.size());
  for (int64_t first = 0; first < total; first += kLogitRows) {
    const int64_t count = std::min(kLogitRows, total - first);
    std::vector<int32_t> rows(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) rows[static_cast<size_t>(i)] = requests[static_cast<size_t>(first + i)].row;
    float* const vocabulary = vocabulary_.need(count * shape_.vocab);
    logits(team, batch, rows, vocabulary);
    team.parallel(count, [&](int64_t i, int) {
      outcomes[static_cast<size_t>(first + i)] =
          sample_row(kernels_, vocabulary + i * shape_.vocab, shape_.vocab, requests[static_cast<size_t>(first + i)]);
    });
  }
  return outcomes;
}

}  // namespace moiety
