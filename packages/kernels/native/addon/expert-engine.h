// Experts as a pure function of rows.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../compute/compute.h"
#include "../compute/int8.h"
#include "activation-rows.h"
#include "mapped-file.h"
#include "model-shape.h"
#include "packed-memory.h"
#include "scratch.h"
#include "thread-pool.h"

namespace moiety {

// One projection: packed (`blocks` and `scales`) or unquantised and transposed (`weight`, [in, out] bf16).
struct ExpertWeightRefs {
  bool packed;
  TensorRef blocks;
  TensorRef scales;
  TensorRef weight;
};

struct ExpertRefs {
  int64_t layer;
  int64_t expert;
  ExpertWeightRefs gate_up;
  TensorRef gate_up_bias;
  ExpertWeightRefs down;
  TensorRef down_bias;
};

// One projection in memory: packed in the mapped file; or, in memory of its own, repacked for int8 activations or bf16
// row-major.
struct ExpertLinear {
  enum class Form { mxfp4, int8, bf16 };
  Form form = Form::mxfp4;
  MappedTensor blocks, scales, bias;
  PackedMemory repacked;
  std::vector<uint16_t> transposed;
  Mxfp4Linear mxfp4{};
  Int8Linear int8{};
  Bf16Linear bf16{};
};

struct ExpertWeights {
  int64_t layer;
  int64_t expert;
  ExpertLinear gate_up;
  ExpertLinear down;
  int64_t resident_bytes;
};

// Maps, checks and reads in one expert, and repacks it for int8 activations; throws Fault, among others for a NaN scale
// (byte 255).
std::shared_ptr<const ExpertWeights> load_expert(FileRegistry& files, const ModelShape& shape, Activation activation, const ExpertRefs& refs);

// One result row to compute, with where it comes from and goes to.
struct ExpertPair {
  const ExpertWeights* expert;
  const uint8_t* input;
  uint8_t* output;
};

// Runs experts on rows. The scratch belongs to the operation that is running; the pool runs one at a time.
class ExpertRunner {
 public:
  ExpertRunner(const KernelTable& kernels, const ModelShape& shape, Activation activation);
  // Writes every pair's output row; which pairs come together changes no bit.
  void run(Team& team, std::vector<ExpertPair>& pairs);

 private:
  // Consecutive pairs of one expert.
  struct Group {
    const ExpertWeights* expert;
    int64_t first;
    int64_t count;
  };
  // Columns [begin, end) of one group's linear.
  struct Piece {
    int64_t group;
    int64_t begin;
    int64_t end;
  };

  void run_block(Team& team, const ExpertPair* pairs, int64_t count);
  std::vector<Piece> cut(const std::vector<Group>& groups, int64_t columns, int threads) const;
  // A group's rows times a piece's columns; x has the rows of all groups.
  void linear(const ExpertLinear& linear, const ActivationRows& x, const Group& group, Rows y, const Piece& piece, bool round) const;
  void gather(Team& team, const ExpertPair* pairs, int64_t count);
  void gate_up(Team& team, const std::vector<Group>& groups);
  void down(Team& team, const std::vector<Group>& groups, const ExpertPair* pairs);

  const KernelTable& kernels_;
  const int64_t hidden_;
  const int64_t intermediate_;
  const float swiglu_limit_;
  const bool round_;
  // Null unless activations are int8.
  const Int8Kernels* const int8_;
  ActivationRows inputs_, activated_;
  ThreadBuffers<float> thread_floats_;
};

}  // namespace moiety
