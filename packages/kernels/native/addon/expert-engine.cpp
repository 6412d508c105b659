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

void load_linear(FileRegistry& files, const ExpertRefs& refs, const ExpertWeightRefs& weight, const TensorRef& bias, int64_t out, int64_t in,
                 ExpertLinear& linear) {
  linear.packed = weight.packed;
  linear.bias = map_tensor(files, bias, "bf16", {out});
  linear.bias.populate();
  if (weight.packed) {
    if (in % 32 != 0) invalid_argument(format("packed weights need inputs in groups of 32; %lld is not a multiple", static_cast<long long>(in)));
    linear.blocks = map_tensor(files, weight.blocks, "u8", {out, in / 32, 16});
    linear.scales = map_tensor(files, weight.scales, "u8", {out, in / 32});
    linear.scales.populate();
    check_scales(linear.scales, refs, weight.scales);
    linear.blocks.populate();
    linear.mxfp4 = {linear.blocks.data(), linear.scales.data(), linear.bias.data(), in, out};
    return;
  }
  // Unmapped again when this returns: only the transposed copy stays resident.
  const MappedTensor stored = map_tensor(files, weight.weight, "bf16", {in, out});
  stored.populate();
  linear.transposed.resize(static_cast<size_t>(in * out));
  transpose(stored.data(), in, out, linear.transposed.data());
  linear.bf16 = {reinterpret_cast<const uint8_t*>(linear.transposed.data()), linear.bias.data(), in, out};
}

int64_t resident_bytes(const ExpertLinear& linear) {
  return linear.blocks.length() + linear.scales.length() + linear.bias.length() + static_cast<int64_t>(linear.transposed.size()) * 2;
}

}  // namespace

std::shared_ptr<const ExpertWeights> load_expert(FileRegistry& files, const ModelShape& shape, const ExpertRefs& refs) {
  auto weights = std::make_shared<ExpertWeights>();
  weights->layer = refs.layer;
  weights->expert = refs.expert;
  load_linear(files, refs, refs.gate_up, refs.gate_up_bias, 2 * shape.intermediate, shape.hidden, weights->gate_up);
  load_linear(files, refs, refs.down, refs.down_bias, shape.hidden, shape.intermediate, weights->down);
  weights->resident_bytes = resident_bytes(weights->gate_up) + resident_bytes(weights->down);
  return weights;
}

ExpertRunner::ExpertRunner(const KernelTable& kernels, const ModelShape& shape, Activation activation)
    : kernels_(kernels),
      hidden_(shape.hidden),
      intermediate_(shape.intermediate),
      swiglu_limit_(shape.swiglu_limit),
      round_(activation == Activation::bf16) {}

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

void ExpertRunner::linear(const ExpertLinear& linear, ConstRows x, Rows y, int64_t begin, int64_t end, bool round) const {
  if (linear.packed) {
    kernels_.linear_mxfp4(linear.mxfp4, x, y, begin, end, round);
  } else {
    kernels_.linear_bf16(linear.bf16, x, y, begin, end, round);
  }
}

void ExpertRunner::gather(Team& team, const ExpertPair* pairs, int64_t count) {
  float* const inputs = inputs_.need(count * hidden_);
  const Slices slices = row_slices(count, hidden_, team.threads());
  team.parallel(slices.count(), [&](int64_t slice, int) {
    for (int64_t i = slices.begin(slice); i < slices.end(slice); ++i) {
      if (round_) {
        kernels_.from_bf16(pairs[i].input, inputs + i * hidden_, hidden_);
      } else {
        std::memcpy(inputs + i * hidden_, pairs[i].input, static_cast<size_t>(hidden_) * 4);
      }
    }
  });
  activated_.need(count * intermediate_);
}

// A piece's pre-activations stay in its thread's cache: SwiGLU follows at once, gate and up being neighbours.
void ExpertRunner::gate_up(Team& team, const std::vector<Group>& groups) {
  const std::vector<Piece> pieces = cut(groups, 2 * intermediate_, team.threads());
  team.parallel(static_cast<int64_t>(pieces.size()), [&](int64_t index, int thread) {
    const Piece& piece = pieces[static_cast<size_t>(index)];
    const Group& group = groups[static_cast<size_t>(piece.group)];
    const int64_t columns = piece.end - piece.begin;
    float* const u = thread_floats_.need(thread, group.count * columns);
    linear(group.expert->gate_up, {inputs_.data() + group.first * hidden_, group.count, hidden_}, {u - piece.begin, group.count, columns},
           piece.begin, piece.end, false);
    for (int64_t i = 0; i < group.count; ++i) {
      float* const out = activated_.data() + (group.first + i) * intermediate_ + piece.begin / 2;
      kernels_.swiglu(u + i * columns, columns / 2, swiglu_limit_, out, round_);
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
    linear(group.expert->down, {activated_.data() + group.first * intermediate_, group.count, intermediate_},
           {y - piece.begin, group.count, columns}, piece.begin, piece.end, round_);
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
