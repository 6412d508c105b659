// Weights and KV pages of one attention worker, and the operations on batches.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "../compute/compute.h"
#include "batch.h"
#include "dense-linear.h"
#include "mapped-file.h"
#include "model-shape.h"
#include "rope.h"
#include "sampling.h"
#include "scratch.h"
#include "thread-pool.h"

namespace moiety {

struct LinearRefs {
  TensorRef weight;
  TensorRef bias;
};

struct AttentionLayerRefs {
  TensorRef attention_norm;
  LinearRefs query, key, value, output;
  TensorRef sinks;
  TensorRef mlp_norm;
  LinearRefs router;
};

struct AttentionRefs {
  TensorRef embedding;
  TensorRef final_norm;
  TensorRef unembedding;
  std::vector<AttentionLayerRefs> layers;
};

// One result row of an expert, by (batch row, choice).
using ExpertRowPointers = std::vector<const uint8_t*>;

class AttentionEngine {
 public:
  // Maps, checks and reads in the weights, on so many threads where they are packed; reserves the KV pools. Throws Fault.
  AttentionEngine(FileRegistry& files, const KernelTable& kernels, ModelShape shape, const AttentionRefs& refs, Activation activation,
                  KvPoolShape kv, int loading_threads);
  ~AttentionEngine();
  AttentionEngine(const AttentionEngine&) = delete;
  AttentionEngine& operator=(const AttentionEngine&) = delete;

  const ModelShape& shape() const { return shape_; }
  Activation activation() const { return activation_; }
  const KvPoolShape& kv() const { return kv_; }
  int64_t weights_bytes() const { return weights_bytes_; }
  int64_t kv_bytes() const { return kv_bytes_; }
  int64_t row_bytes() const { return shape_.hidden * element_bytes(activation_); }

  // The operations run on the pool, one at a time.
  void attend(Team& team, Batch& batch, int64_t layer);
  // rows [batch rows * choices].
  void combine(Team& team, Batch& batch, const ExpertRowPointers& rows);
  // out [rows.size(), vocab].
  void logits(Team& team, const Batch& batch, const std::vector<int32_t>& rows, float* out);
  std::vector<SampleOutcome> sample(Team& team, const Batch& batch, const std::vector<SampleRequest>& requests);

 private:
  struct Layer {
    MappedTensor attention_norm, sinks, mlp_norm;
    DenseLinear query, key, value, output, router;
    KvPages keys, values;
    bool sliding;
  };

  MappedTensor take(FileRegistry& files, const TensorRef& ref, const std::vector<int64_t>& shape);
  // `bias` may be null.
  DenseLinear take_linear(FileRegistry& files, const TensorRef& weight, const TensorRef* bias, int64_t out, int64_t in);
  DenseLinear take_linear(FileRegistry& files, const LinearRefs& refs, int64_t out, int64_t in);
  void reserve_kv();

  void embed(Team& team, Batch& batch);
  void project(Team& team, const Batch& batch, const Layer& layer);
  void write_kv(Team& team, const Batch& batch, const Layer& layer);
  void attend_rows(Team& team, const Batch& batch, const Layer& layer);
  void add_output(Team& team, const Batch& batch, const Layer& layer);
  void gate(Team& team, Batch& batch, const Layer& layer);
  void final_norm(Team& team, const Batch& batch, const int32_t* rows, int64_t count);

  const KernelTable& kernels_;
  const ModelShape shape_;
  const Activation activation_;
  const KvPoolShape kv_;
  const RopeTable rope_;
  const bool round_;
  const int loading_threads_;
  MappedTensor embedding_, final_norm_;
  DenseLinear unembedding_;
  std::vector<Layer> layers_;
  int64_t weights_bytes_ = 0;
  void* kv_memory_ = nullptr;
  int64_t kv_bytes_ = 0;

  // Of the operation that is running.
  DenseRows normed_, attended_;
  Buffer<float> projected_, router_logits_, vocabulary_;
  ThreadBuffers<float> thread_floats_;
};

}  // namespace moiety
