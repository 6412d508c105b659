// How fast one thread of each level is, beside what the same thread could do: the peak of fused multiply-adds and the
// speed of reading memory. Every figure is the best of a few short runs. Usage: bench [level ...]
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "../compute/compute.h"

namespace {

using moiety::KernelTable;

constexpr int64_t kHidden = 2880;

double best_seconds(const std::function<void()>& run) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  for (int i = 0; i < 7; i++) {
    const auto start = Clock::now();
    run();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds < best) best = seconds;
  }
  return best;
}

volatile float sink_f32;
volatile uint64_t sink_u64;

// Twelve independent chains of fused multiply-adds; written out, because a compiler may fold or spill them.
double peak_gflops() {
  constexpr int kChains = 12;
  constexpr int64_t kTurns = 1000000;
#if defined(__x86_64__)
  constexpr int kLanes = 8;
#define CHAIN(n) "vfmadd231ps %%ymm12, %%ymm12, %%ymm" #n "\n"
  const auto turn = [] {
    asm volatile(CHAIN(0) CHAIN(1) CHAIN(2) CHAIN(3) CHAIN(4) CHAIN(5) CHAIN(6) CHAIN(7) CHAIN(8) CHAIN(9) CHAIN(10)
                     CHAIN(11)::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                 "xmm10", "xmm11");
  };
  asm volatile(
      "vzeroall" ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
#else
  constexpr int kLanes = 4;
#define CHAIN(n) "fmla v" #n ".4s, v12.4s, v12.4s\n"
  const auto turn = [] {
    asm volatile("movi v12.4s, #0\n" CHAIN(0) CHAIN(1) CHAIN(2) CHAIN(3) CHAIN(4) CHAIN(5) CHAIN(6) CHAIN(7) CHAIN(8)
                     CHAIN(9) CHAIN(10) CHAIN(11)::: "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10",
                 "v11", "v12");
  };
#endif
#undef CHAIN
  const double seconds = best_seconds([&] {
    for (int64_t i = 0; i < kTurns; i++) turn();
  });
  return 2.0 * kChains * kTurns * kLanes / seconds * 1e-9;
}

double read_gbytes(const std::vector<uint8_t>& memory) {
  // Four streams, as a matrix kernel has them.
  const size_t count = memory.size() / 8 / 4;
  const auto* words = reinterpret_cast<const uint64_t*>(memory.data());
  return static_cast<double>(memory.size()) / 1e9 / best_seconds([&] {
    typedef uint64_t Words __attribute__((vector_size(32), aligned(8)));
    Words a = {}, b = {}, c = {}, d = {};
    const auto take = [&](Words& sum, size_t i) { sum ^= *reinterpret_cast<const Words*>(words + i); };
    for (size_t i = 0; i + 4 <= count; i += 4) {
      take(a, i);
      take(b, count + i);
      take(c, 2 * count + i);
      take(d, 3 * count + i);
    }
    a ^= b ^ c ^ d;
    sink_u64 = a[0] ^ a[1] ^ a[2] ^ a[3];
  });
}

struct Bench {
  std::vector<uint8_t> memory;
  std::vector<float> x, y;
  double peak, bandwidth;

  void linear(const KernelTable& table, bool mxfp4, int64_t rows) {
    const int64_t packed = mxfp4 ? kHidden / 2 : kHidden * 2;
    // One row streams from memory; many rows get a matrix as large as one expert.
    const int64_t out = rows == 1 ? 32000 : 512;
    const uint8_t* scales = memory.data() + memory.size() - out * (kHidden / 32);
    const moiety::Bf16Linear wide = {memory.data() + 2, nullptr, kHidden, out};
    const moiety::Mxfp4Linear narrow = {memory.data() + 5, scales, nullptr, kHidden, out};
    const double seconds = best_seconds([&] {
      const moiety::ConstRows in = {x.data(), rows, kHidden};
      const moiety::Rows result = {y.data(), rows, out};
      if (mxfp4) {
        table.linear_mxfp4(narrow, in, result, 0, out, false);
      } else {
        table.linear_bf16(wide, in, result, 0, out, false);
      }
    });
    const double gbytes = static_cast<double>(out * (packed + (mxfp4 ? kHidden / 32 : 0))) / seconds * 1e-9;
    const double gflops = 2.0 * static_cast<double>(rows * out * kHidden) / seconds * 1e-9;
    std::printf("  %-12s %3lld rows: %6.1f GFLOP/s (%2.0f%% of peak), weights at %5.1f GB/s (%2.0f%% of memory)\n",
                mxfp4 ? "linear_mxfp4" : "linear_bf16", static_cast<long long>(rows), gflops, 100 * gflops / peak,
                gbytes, 100 * gbytes / bandwidth);
  }

  void attention(const KernelTable& table, int64_t positions, bool bf16) {
    constexpr int64_t kHeadDim = 64, kKvHeads = 8, kGroup = 8, kPageTokens = 16;
    std::vector<int32_t> pages;
    for (int64_t i = 0; i * kPageTokens < positions; i++) pages.push_back(static_cast<int32_t>(i));
    std::vector<uint8_t> sinks(kGroup * 2);
    std::vector<float> scores(static_cast<size_t>(kGroup * positions)), kv(static_cast<size_t>((positions + kPageTokens) * 512), 0.5f);
    const moiety::KvPages cache = {kv.data(), kPageTokens, kKvHeads, kHeadDim, bf16};
    const double seconds = best_seconds([&] {
      for (int64_t h = 0; h < kKvHeads; h++) {
        table.attention({pages.data(), 0, 0, positions - 1}, cache, cache, h, x.data(), kGroup, 0.125f, sinks.data(),
                        y.data(), scores.data(), false);
      }
    });
    const double gflops = 4.0 * kKvHeads * kGroup * kHeadDim * static_cast<double>(positions) / seconds * 1e-9;
    std::printf("  attention %s, %5lld positions: %6.1f us a row, %5.1f GFLOP/s (%2.0f%% of peak)\n",
                bf16 ? "bf16" : "f32 ", static_cast<long long>(positions), seconds * 1e6, gflops, 100 * gflops / peak);
  }

  void rows(const KernelTable& table) {
    const double swiglu = best_seconds([&] { table.swiglu(x.data(), kHidden, 7, y.data(), false); });
    const double norm = best_seconds([&] { table.rms_norm(x.data(), memory.data(), kHidden, 1e-5f, y.data(), false); });
    const double sum = best_seconds([&] { sink_f32 = table.sum_exp(x.data(), 128 * kHidden, 1); });
    const double combine = best_seconds([&] {
      const uint8_t* four[] = {memory.data() + 1, memory.data() + 6001, memory.data() + 12001, memory.data() + 18001};
      table.combine(y.data(), four, x.data(), 4, kHidden, true);
    });
    std::printf("  swiglu %.2f us, rms_norm %.2f us, combine of 4 %.2f us a row; sum_exp %.2f ns an element\n",
                swiglu * 1e6, norm * 1e6, combine * 1e6, sum * 1e9 / (128 * kHidden));
  }
};

}  // namespace

int main(int argc, char** argv) {
  Bench bench;
  bench.memory.resize(192u << 20);
  uint64_t state = 1;
  for (size_t i = 0; i + 8 <= bench.memory.size(); i += 2) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    // bf16 numbers around 1 when read as such; scale bytes from 120 to 127 or any code else.
    bench.memory[i] = static_cast<uint8_t>(120 + (state >> 61));
    bench.memory[i + 1] = 0x3f;
  }
  bench.x.assign(128 * kHidden, 0.25f);
  bench.y.assign(128 * 32000, 0);
  bench.peak = peak_gflops();
  bench.bandwidth = read_gbytes(bench.memory);
  std::printf("one thread: %.1f GFLOP/s of fused multiply-add, reads %.1f GB/s\n", bench.peak, bench.bandwidth);
  std::vector<const char*> names(argv + 1, argv + argc);
  if (names.empty()) names.push_back(moiety::best_kernel_table()->name);
  for (const char* name : names) {
    const KernelTable* table = moiety::kernel_table(name);
    if (table == nullptr) {
      std::printf("%s: not on this CPU\n", name);
      continue;
    }
    std::printf("%s\n", name);
    for (const bool mxfp4 : {false, true}) {
      for (const int64_t rows : {1, 2, 3, 4, 5, 8, 12, 16, 32, 128}) bench.linear(*table, mxfp4, rows);
    }
    for (const bool bf16 : {false, true}) {
      for (const int64_t positions : {128, 4096}) bench.attention(*table, positions, bf16);
    }
    bench.rows(*table);
  }
  return 0;
}
