#include "expert-engine.h"

#include <algorithm>
#include <cstring>

#include "fault.h"
#include "slices.h"

namespace moiety {
namespace {

// Pairs computed together: bounds the scratch to about 30 MB for gpt-oss.
constexpr int64_t kBlockPairs = 1024;

void check_scales(const MappedTensor& scales, const ExpertRefs& refs, const TensorRef& ref) {
  const void* const nan = std::memchr(scales.data(), 255, static_cast<size_t>(scales.length()));
  if (nan == nullptr) return;
  throw Fault("DATA_LOSS", format("layer %lld, expert %lld: scale %lld of tensor %s in %s is NaN (byte 255)", static_cast<long long>(refs.layer),
                                  static_cast<long long>(refs.expert),
                                  static_cast<long long>(static_cast<const uint8_t*>(nan) - scales.data()), ref.name.c_str(), ref.file.c_str()));
}

// from [in, out] to [out, in], in tiles so that both sides stay in the cache.
void transpose(const uint8_t* from, int64_t in, int64_t out, uint16_t* to) {
  constexpr int64_t kTile = 32;
  for (int64_t i0 = 0; i0 < in; i0 += kTile) {
    for (int64_t o0 = 0; o0 < out; o0 += kTile) {
      for (int64_t o = o0; o < std::min(out, o0 + kTile); ++o) {
        for (int64_t i = i0; i < std::min(in, i0 + kTile); ++i) std::memcpy(&to[o * in + i], from + (i * out + o) * 2, 2);
      }
    }
  }
}

// Reads every weight once, on the loader's thread that holds the expert; the checkpoint's pages go back to the system.
void repack(ExpertLinear& linear) {
  const int64_t in = linear.mxfp4.in;
  const int64_t out = linear.mxfp4.out;
  linear.repacked = PackedMemory(int8_code_bytes(in, out) + int8_scale_bytes(in, out));
  uint8_t* const codes = linear.repacked.data();
  uint8_t* const scales = codes + int8_code_bytes(in, out);
  pack_int8(linear.mxfp4, 0, int8_panels(out), codes, scales);
  linear.int8 = {codes, scales, linear.bias.data(), in, out};
  linear.mxfp4 = {};
  linear.blocks = {};
  linear.scales = {};
}

void load_packed(FileRegistry& files, const ExpertRefs& refs, const ExpertWeightRefs& weight, int64_t out, int64_t in, ExpertLinear& linear) {
  if (in % 32 != 0) invalid_argument(format("packed weights need inputs in groups of 32; %lld is not a multiple", static_cast<long long>(in)));
  linear.blocks = map_tensor(files, weight.blocks, "u8", {out, in / 32, 16});
  linear.scales = map_tensor(files, weight.scales, "u8", {out, in / 32});
  linear.scales.populate();
  check_scales(linear.scales, refs, weight.scales);
  linear.blocks.populate();
  linear.mxfp4 = {linear.blocks.data(), linear.scales.data(), linear.bias.data(), in, out};
}

void load_transposed(FileRegistry& files, const ExpertWeightRefs& weight, int64_t out, int64_t in, ExpertLinear& linear) {
  // Unmapped again when this returns: only the transposed copy stays resident.
  const MappedTensor stored = map_tensor(files, weight.weight, "bf16", {in, out});
  stored.populate();
  linear.transposed.resize(static_cast<size_t>(in * out));
  transpose(stored.data(), in, out, linear.transposed.data());
  linear.bf16 = {reinterpret_cast<const uint8_t*>(linear.transposed.data()), linear.bias.data(), in, out};
}

// The size of a projection and the form that its weights take in memory.
struct LinearPlan {
  int64_t out;
  int64_t in;
  ExpertLinear::Form form;
};

void load_linear(FileRegistry& files, const ExpertRefs& refs, const ExpertWeightRefs& weight, const TensorRef& bias, const LinearPlan& plan,
                 ExpertLinear& linear) {
  linear.form = plan.form;
  linear.bias = map_tensor(files, bias, "bf16", {plan.out});
  linear.bias.populate();
  if (plan.form == ExpertLinear::Form::bf16) return load_transposed(files, weight, plan.out, plan.in, linear);
  load_packed(files, refs, weight, plan.out, plan.in, linear);
  if (plan.form == ExpertLinear::Form::int8) repack(linear);
}

ExpertLinear::Form form_of(const ExpertRefs& refs, const ExpertWeightRefs& weight, Activation activation) {
  if (activation != Activation::int8) return weight.packed ? ExpertLinear::Form::mxfp4 : ExpertLinear::Form::bf16;
  if (weight.packed) return ExpertLinear::Form::int8;
  throw Fault("FAILED_PRECONDITION",
              format("layer %lld, expert %lld: %s holds bf16 weights; activation int8 needs MXFP4 ones, bf16 and f32 take either",
                     static_cast<long long>(refs.layer), static_cast<long long>(refs.expert), weight.weight.name.c_str()));
}

int64_t resident_bytes(const ExpertLinear& linear) {
  return linear.blocks.length() + linear.scales.length() + linear.bias.length() + static_cast<int64_t>(linear.transposed.size()) * 2 +
         linear.repacked.bytes();
}

}  // namespace

std::shared_ptr<const ExpertWeights> load_expert(FileRegistry& files, const ModelShape& shape, Activation activation, const ExpertRefs& refs) {
  auto weights = std::make_shared<ExpertWeights>();
  weights->layer = refs.layer;
  weights->expert = refs.expert;
  const LinearPlan gate_up{2 * shape.intermediate, shape.hidden, form_of(refs, refs.gate_up, activation)};
  const LinearPlan down{shape.hidden, shape.intermediate, form_of(refs, refs.down, activation)};
  load_linear(files, refs, refs.gate_up, refs.gate_up_bias, gate_up, weights->gate_up);
  load_linear(files, refs, refs.down, refs.down_bias, down, weights->down);
  weights->resident_bytes = resident_bytes(weights->gate_up) + resident_bytes(weights->down);
  return weights;
}

ExpertRunner::ExpertRunner(const KernelTable& kernels, const ModelShape& shape, Activation activation)
    : kernels_(kernels),
      hidden_(shape.hidden),
      intermediate_(shape.intermediate),
      swiglu_limit_(shape.swiglu_limit),
      round_(rounds_to_bf16(activation)),
      int8_(activation == Activation::int8 ? int8_kernels(kernels.name) : nullptr),
      inputs_(int8_),
      activated_(int8_) {}

void ExpertRunner::run(Team& team, std::vector<ExpertPair>& pairs) {
  std::stable_sort(pairs.begin(), pairs.end(), [](const ExpertPair& a, const ExpertPair& b) { return a.expert->expert < b.expert->expert; });
  const int64_t total = static_cast<int64_t>(pairs.size());
  for (int64_t first = 0; first < total; first += kBlockPairs) run_block(team, pairs.data() + first, std::min(kBlockPairs, total - first));
}

void ExpertRunner::run_block(Team& team, const ExpertPair* pairs, int64_t count) {
  std::vector<Group> groups;
  for (int64_t i = 0; i < count; ++i) {
    if (groups.empty() || groups.back().expert != pairs[i].expert) groups.push_back({pairs[i].expert, i, 0});
    groups.back().count += 1;
  }
  thread_floats_.set_threads(team.threads());
  gather(team, pairs, count);
  gate_up(team, groups);
  down(team, groups, pairs);
}

// Pieces of all groups, those of the largest groups first, so that the last to finish is a small one.
std::vector<ExpertRunner::Piece> ExpertRunner::cut(const std::vector<Group>& groups, int64_t columns, int threads) const {
  const Slices slices = column_slices(columns, threads, static_cast<int64_t>(groups.size()));
  std::vector<int64_t> order(groups.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return groups[static_cast<size_t>(a)].count > groups[static_cast<size_t>(b)].count; });
  std::vector<Piece> pieces;
  for (const int64_t group : order) {
    for (int64_t slice = 0; slice < slices.count(); ++slice) pieces.push_back({group, slices.begin(slice), slices.end(slice)});
  }
  return pieces;
}

void ExpertRunner::linear(const ExpertLinear& linear, const ActivationRows& x, const Group& group, Rows y, const Piece& piece, bool round) const {
  switch (linear.form) {
    case ExpertLinear::Form::int8:
      return int8_->linear(linear.int8, x.quantised(group.first, group.count), y, piece.begin, piece.end, round);
    case ExpertLinear::Form::mxfp4:
      return kernels_.linear_mxfp4(linear.mxfp4, x.plain(group.first, group.count), y, piece.begin, piece.end, round);
    case ExpertLinear::Form::bf16:
      return kernels_.linear_bf16(linear.bf16, x.plain(group.first, group.count), y, piece.begin, piece.end, round);
  }
}

void ExpertRunner::gather(Team& team, const ExpertPair* pairs, int64_t count) {
  inputs_.need(count, hidden_);
  const Slices slices = row_slices(count, hidden_, team.threads());
  team.parallel(slices.count(), [&](int64_t slice, int thread) {
    float* const scratch = int8_ == nullptr ? nullptr : thread_floats_.need(thread, hidden_);
    for (int64_t i = slices.begin(slice); i < slices.end(slice); ++i) {
      float* const row = inputs_.place(i, 0, scratch);
      if (round_) {
        kernels_.from_bf16(pairs[i].input, row, hidden_);
      } else {
        std::memcpy(row, pairs[i].input, static_cast<size_t>(hidden_) * 4);
      }
      inputs_.put(i, 0, row, hidden_);
    }
  });
  activated_.need(count, intermediate_);
}

// A piece's pre-activations stay in its thread's cache: SwiGLU follows at once, gate and up being neighbours. What int8
// quantises next is not rounded to bf16 before.
void ExpertRunner::gate_up(Team& team, const std::vector<Group>& groups) {
  const std::vector<Piece> pieces = cut(groups, 2 * intermediate_, team.threads());
  team.parallel(static_cast<int64_t>(pieces.size()), [&](int64_t index, int thread) {
    const Piece& piece = pieces[static_cast<size_t>(index)];
    const Group& group = groups[static_cast<size_t>(piece.group)];
    const int64_t columns = piece.end - piece.begin;
    float* const u = thread_floats_.need(thread, group.count * columns + columns / 2);
    linear(group.expert->gate_up, inputs_, group, {u - piece.begin, group.count, columns}, piece, false);
    for (int64_t i = 0; i < group.count; ++i) {
      float* const out = activated_.place(group.first + i, piece.begin / 2, u + group.count * columns);
      kernels_.swiglu(u + i * columns, columns / 2, swiglu_limit_, out, round_ && int8_ == nullptr);
      activated_.put(group.first + i, piece.begin / 2, out, columns / 2);
    }
  });
}

void ExpertRunner::down(Team& team, const std::vector<Group>& groups, const ExpertPair* pairs) {
  const std::vector<Piece> pieces = cut(groups, hidden_, team.threads());
  const int64_t bytes = round_ ? 2 : 4;
  team.parallel(static_cast<int64_t>(pieces.size()), [&](int64_t index, int thread) {
    const Piece& piece = pieces[static_cast<size_t>(index)];
    const Group& group = groups[static_cast<size_t>(piece.group)];
    const int64_t columns = piece.end - piece.begin;
    float* const y = thread_floats_.need(thread, group.count * columns);
    linear(group.expert->down, activated_, group, {y - piece.begin, group.count, columns}, piece, round_);
    for (int64_t i = 0; i < group.count; ++i) {
      uint8_t* const output = pairs[group.first + i].output + piece.begin * bytes;
      if (round_) {
        kernels_.to_bf16(y + i * columns, output, columns);
      } else {
        std::memcpy(output, y + i * columns, static_cast<size_t>(columns * bytes));
      }
    }
  });
}

}  // namespace moiety
