// The rows that go through the layers together.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "model-shape.h"
#include "scratch.h"

namespace moiety {

struct KvPoolShape {
  int64_t page_tokens;
  int64_t full_pages;
  int64_t sliding_pages;
};

struct SequenceRows {
  int64_t row_start;
  int64_t row_count;
  int64_t position_start;
  std::vector<int32_t> full_pages;
  std::vector<int32_t> sliding_pages;
  int64_t sliding_first_block;
};

struct BatchSpec {
  std::vector<int32_t> tokens;
  std::vector<SequenceRows> sequences;
};

// One block that JavaScript sees, its content undefined at first: residual f32 [rows, hidden], weights f32 [rows, k], normed [rows, hidden], ids u16 [rows, k].
class BatchMemory {
 public:
  BatchMemory(const ModelShape& shape, Activation activation, int64_t rows);
  int64_t rows() const { return rows_; }
  uint8_t* data() const { return block_.data(); }
  int64_t length() const { return length_; }
  int64_t weights_offset() const { return weights_offset_; }
  int64_t normed_offset() const { return normed_offset_; }
  int64_t ids_offset() const { return ids_offset_; }

 private:
  int64_t rows_;
  Buffer<uint8_t> block_;
  int64_t weights_offset_;
  int64_t normed_offset_;
  int64_t ids_offset_;
  int64_t length_;
};

struct Batch {
  // Checks; the memory is the caller's to attach. Throws Fault INVALID_ARGUMENT naming the field.
  Batch(const ModelShape& shape, const KvPoolShape& kv, BatchSpec spec);

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
  float* residual() const { return reinterpret_cast<float*>(memory->data()); }
  float* weights() const { return reinterpret_cast<float*>(memory->data() + memory->weights_offset()); }
  uint8_t* normed() const { return memory->data() + memory->normed_offset(); }
  uint16_t* ids() const { return reinterpret_cast<uint16_t*>(memory->data() + memory->ids_offset()); }
  const SequenceRows& sequence_of(int64_t row) const { return sequences[static_cast<size_t>(row_sequence[static_cast<size_t>(row)])]; }
  int64_t position_of(int64_t row) const {
    const SequenceRows& sequence = sequence_of(row);
    return sequence.position_start + row - sequence.row_start;
  }

  std::vector<int32_t> tokens;
  std::vector<SequenceRows> sequences;
  std::vector<int32_t> row_sequence;
  // [rows, head_dim/2], filled when layer 0 runs.
  std::vector<float> cos;
  std::vector<float> sin;
  std::shared_ptr<BatchMemory> memory;
};

}  // namespace moiety
