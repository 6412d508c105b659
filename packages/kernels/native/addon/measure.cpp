// Limits of the machine and speed of the linears, on synthetic data, for the benchmark.
#include <algorithm>
#include <cstring>
#include <ctime>

#include "../compute/int8.h"
#include "../compute/pairs.h"
#include "activation-rows.h"
#include "bindings.h"
#include "packed-memory.h"
#include "slices.h"
#include "values.h"

namespace moiety {
namespace {

double seconds_of(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Runs `once` for at least `least_seconds` and returns the best time of one run. Where the calling thread is the only one that
// works, of its own processor time, which does not pass while other programs have the processor.
template <class Once>
double best_seconds(const Team& team, double least_seconds, Once&& once) {
  const clockid_t clock = team.threads() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  double best = 1e30;
  const double begin = seconds_of(CLOCK_MONOTONIC);
  for (int runs = 0; runs < 2 || seconds_of(CLOCK_MONOTONIC) - begin < least_seconds; ++runs) {
    const double start = seconds_of(clock);
    once();
    best = std::min(best, seconds_of(clock) - start);
  }
  return best;
}

// Sums eight streams side by side, as a linear reads several rows of weights: one alone leaves the prefetchers idle.
#define MOIETY_SUM_WORDS(name, target)                                                    \
  target uint64_t name(const uint64_t* words, int64_t count) {                            \
    typedef uint64_t Vector __attribute__((vector_size(32), aligned(8)));                 \
    Vector sums[8] = {};                                                                  \
    const int64_t stride = count / 8;                                                     \
    for (int64_t i = 0; i + 8 <= stride; i += 8) {                                        \
      _Pragma("GCC unroll 8") for (int lane = 0; lane < 8; ++lane) {                      \
        const uint64_t* const at = words + lane * stride + i;                             \
        sums[lane] += *reinterpret_cast<const Vector*>(at);                               \
        sums[lane] += *reinterpret_cast<const Vector*>(at + 4);                           \
      }                                                                                   \
    }                                                                                     \
    for (int lane = 1; lane < 8; ++lane) sums[0] += sums[lane];                           \
    return sums[0][0] + sums[0][1] + sums[0][2] + sums[0][3];                             \
  }
#if defined(__x86_64__)
MOIETY_SUM_WORDS(sum_words_avx2, __attribute__((target("avx2"))))
#endif
MOIETY_SUM_WORDS(sum_words_plain, __attribute__((noinline)))

uint64_t sum_words(const char* level, const uint64_t* words, int64_t count) {
#if defined(__x86_64__)
  if (std::strcmp(level, "scalar") != 0) return sum_words_avx2(words, count);
#endif
  static_cast<void>(level);
  return sum_words_plain(words, count);
}

constexpr int kChains = 12;
constexpr int64_t kFmaSteps = 1 << 18;

// Fused multiply-adds in this one function, whatever the flags: an attribute of g++, a pragma of clang.
#if defined(__clang__)
#define MOIETY_CONTRACT_HERE _Pragma("clang fp contract(fast)")
#define MOIETY_CONTRACTED
#else
#define MOIETY_CONTRACT_HERE
#define MOIETY_CONTRACTED , optimize("fp-contract=fast")
#endif

// Independent chains of fused multiply-adds, as many as hide the latency; returns the operations done.
#define MOIETY_FMA_CHAINS(name, target, lanes)                                           \
  target int64_t name(float* sink) {                                                     \
    MOIETY_CONTRACT_HERE                                                                 \
    typedef float Vector __attribute__((vector_size(4 * lanes)));                        \
    Vector sums[kChains];                                                                \
    Vector factor;                                                                       \
    for (int i = 0; i < lanes; ++i) factor[i] = 0.9999f;                                 \
    for (int chain = 0; chain < kChains; ++chain) sums[chain] = factor + float(chain);   \
    for (int64_t step = 0; step < kFmaSteps; ++step) {                                   \
      _Pragma("GCC unroll 12") for (int chain = 0; chain < kChains; ++chain) sums[chain] = sums[chain] * factor + factor; \
    }                                                                                    \
    for (int chain = 0; chain < kChains; ++chain) *sink += sums[chain][0];               \
    return kFmaSteps * kChains * lanes * 2;                                              \
  }
#if defined(__x86_64__)
MOIETY_FMA_CHAINS(fma_avx512, __attribute__((target("avx512f") MOIETY_CONTRACTED)), 16)
MOIETY_FMA_CHAINS(fma_avx2, __attribute__((target("avx2,fma") MOIETY_CONTRACTED)), 8)
#endif
MOIETY_FMA_CHAINS(fma_generic, __attribute__((noinline)), 4)

int64_t fma_chains(const char* level, float* sink) {
#if defined(__x86_64__)
  if (std::strcmp(level, "avx512") == 0) return fma_avx512(sink);
  if (std::strcmp(level, "avx2") == 0) return fma_avx2(sink);
  return fma_generic(sink);
#else
  static_cast<void>(level);
  return fma_generic(sink);
#endif
}

// One of: {kind: "read", bytes}, {kind: "fma"}, {kind: "pairs"}, {kind: "int8"}, {kind: "linear", format, in, out, rows, copies}. Resolves
// to {seconds, bytes, flops} of one run.
class Measurement : public Operation {
 public:
  using Operation::Operation;
  std::string kind;
  int64_t bytes = 0;
  std::string format;
  int64_t in = 0, out = 0, rows = 0, copies = 0;

 protected:
  void compute(Team& team) override {
    if (kind == "read") {
      read(team);
    } else if (kind == "fma") {
      fma(team);
    } else if (kind == "pairs") {
      peak(team, pair_kernels(host_->kernels().name)->peak);
    } else if (kind == "int8") {
      peak(team, int8_kernels(host_->kernels().name)->peak);
    } else if (format == "pairs") {
      pair_linear(team);
    } else if (format == "int8") {
      int8_linear(team);
    } else {
      linear(team);
    }
  }
  Napi::Value result(Napi::Env env) override {
    const auto object = Napi::Object::New(env);
    object.Set("seconds", seconds_);
    object.Set("bytes", bytes_);
    object.Set("flops", flops_);
    return object;
  }

 private:
  static constexpr double kLeastSeconds = 0.2;

  void read(Team& team) {
    // In huge pages, as packed weights are.
    const PackedMemory memory(bytes);
    auto* const words = reinterpret_cast<uint64_t*>(memory.data());
    const int64_t count = bytes / 8;
    std::fill(words, words + count, uint64_t{1});
    std::atomic<uint64_t> sum{0};
    seconds_ = best_seconds(team, kLeastSeconds, [&] {
      const Slices slices{count, 1 << 16};
      team.parallel(slices.count(), [&](int64_t slice, int) {
        sum += sum_words(host_->kernels().name, words + slices.begin(slice), slices.end(slice) - slices.begin(slice));
      });
    });
    bytes_ = static_cast<double>(bytes);
  }

  void fma(Team& team) {
    std::atomic<int64_t> flops{0};
    seconds_ = best_seconds(team, kLeastSeconds, [&] {
      flops = 0;
      team.parallel(team.threads(), [&](int64_t, int) {
        float sink = 0;
        flops += fma_chains(host_->kernels().name, &sink);
        asm volatile("" : : "m"(sink));
      });
    });
    flops_ = static_cast<double>(flops);
  }

  // The level's own loop of products and sums, on every thread.
  void peak(Team& team, int64_t (*loop)(int64_t steps)) {
    constexpr int64_t kSteps = 1 << 16;
    std::atomic<int64_t> operations{0};
    seconds_ = best_seconds(team, kLeastSeconds, [&] {
      operations = 0;
      team.parallel(team.threads(), [&](int64_t, int) { operations += loop(kSteps); });
    });
    flops_ = static_cast<double>(operations);
  }

  // As `linear`, of rows in bf16.
  void pair_linear(Team& team) {
    const PairKernels& kernels = *pair_kernels(host_->kernels().name);
    const int64_t bytes_of_one = pair_bytes(in, out);
    const PackedMemory weights(copies * bytes_of_one);
    for (int64_t i = 0; i < copies * bytes_of_one; ++i) weights.data()[i] = i % 2 == 0 ? static_cast<uint8_t>(i * 37 + i / 251) : uint8_t{0x3f};
    std::vector<uint16_t> x(static_cast<size_t>(rows * in), 0x3f80);
    std::vector<float> y(static_cast<size_t>(rows * out));
    const Slices slices = column_slices(out, team.threads());
    seconds_ = best_seconds(team, kLeastSeconds, [&] {
      for (int64_t copy = 0; copy < copies; ++copy) {
        const PairLinear matrix{weights.data() + copy * bytes_of_one, nullptr, in, out};
        team.parallel(slices.count(), [&](int64_t slice, int) {
          kernels.linear(matrix, {x.data(), rows, in}, {y.data(), rows, out}, slices.begin(slice), slices.end(slice), false);
        });
      }
    });
    bytes_ = static_cast<double>(bytes_of_one * copies);
    flops_ = 2.0 * static_cast<double>(rows * in * out * copies);
  }

  // As `linear`; the rows are quantised before the time is taken.
  void int8_linear(Team& team) {
    const Int8Kernels& kernels = *int8_kernels(host_->kernels().name);
    const int64_t code_bytes = int8_code_bytes(in, out);
    const int64_t scale_bytes = int8_scale_bytes(in, out);
    const PackedMemory weights(copies * (code_bytes + scale_bytes));
    for (int64_t i = 0; i < copies * code_bytes; ++i) weights.data()[i] = static_cast<uint8_t>(i * 37 + i / 251);
    std::memset(weights.data() + copies * code_bytes, 122, static_cast<size_t>(copies * scale_bytes));
    std::vector<float> x(static_cast<size_t>(in));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i % 17) - 8) / 8.0f;
    ActivationRows input(&kernels);
    input.need(rows, in);
    for (int64_t row = 0; row < rows; ++row) input.put(row, 0, x.data(), in);
    std::vector<float> y(static_cast<size_t>(rows * out));
    const Slices slices = column_slices(out, team.threads());
    seconds_ = best_seconds(team, kLeastSeconds, [&] {
      for (int64_t copy = 0; copy < copies; ++copy) {
        const Int8Linear matrix{weights.data() + copy * code_bytes, weights.data() + copies * code_bytes + copy * scale_bytes, nullptr, in, out};
        team.parallel(slices.count(), [&](int64_t slice, int) {
          kernels.linear(matrix, input.quantised(0, rows), {y.data(), rows, out}, slices.begin(slice), slices.end(slice), false);
        });
      }
    });
    bytes_ = static_cast<double>((code_bytes + scale_bytes) * copies);
    flops_ = 2.0 * static_cast<double>(rows * in * out * copies);
  }

  // `copies` matrices, one after the other, so that weights come from memory and not from a cache.
  void linear(Team& team) {
    const bool packed = format == "mxfp4";
    const int64_t block_bytes = packed ? in * out / 2 : in * out * 2;
    const int64_t scale_bytes = packed ? in * out / 32 : 0;
    // Sign and low mantissa bits vary, exponents stay near 1.
    std::vector<uint8_t> weights(static_cast<size_t>(block_bytes * copies));
    for (size_t i = 0; i < weights.size(); ++i) weights[i] = packed || i % 2 == 0 ? static_cast<uint8_t>(i * 37 + i / 251) : uint8_t{0x3f};
    const std::vector<uint8_t> scales(static_cast<size_t>(scale_bytes * copies), 122);
    std::vector<float> x(static_cast<size_t>(rows * in));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i % 17) - 8) / 8.0f;
    std::vector<float> y(static_cast<size_t>(rows * out));
    const KernelTable& kernels = host_->kernels();
    const Slices slices = column_slices(out, team.threads());
    seconds_ = best_seconds(team, kLeastSeconds, [&] {
      for (int64_t copy = 0; copy < copies; ++copy) {
        const uint8_t* const weight = weights.data() + copy * block_bytes;
        const uint8_t* const scale = scales.data() + copy * scale_bytes;
        team.parallel(slices.count(), [&](int64_t slice, int) {
          const ConstRows input{x.data(), rows, in};
          const Rows result{y.data(), rows, out};
          if (packed) {
            kernels.linear_mxfp4({weight, scale, nullptr, in, out}, input, result, slices.begin(slice), slices.end(slice), false);
          } else {
            kernels.linear_bf16({weight, nullptr, in, out}, input, result, slices.begin(slice), slices.end(slice), false);
          }
        });
      }
    });
    bytes_ = static_cast<double>((block_bytes + scale_bytes) * copies);
    flops_ = 2.0 * static_cast<double>(rows * in * out * copies);
  }

  double seconds_ = 0;
  double bytes_ = 0;
  double flops_ = 0;
};

constexpr int64_t kMaxBytes = int64_t{1} << 32;

}  // namespace

Napi::Value start_measurement(Napi::Env env, const std::shared_ptr<Host>& host, const Napi::Value& value) {
  const Field spec{value, "measurement"};
  auto operation = std::make_unique<Measurement>(host);
  operation->kind = spec.get("kind").text();
  if (operation->kind == "read") {
    operation->bytes = spec.get("bytes").integer(8, kMaxBytes);
  } else if (operation->kind == "linear") {
    operation->format = spec.get("format").text();
    operation->in = spec.get("in").integer(32, 1 << 17) / 32 * 32;
    operation->out = spec.get("out").integer(1, 1 << 20);
    operation->rows = spec.get("rows").integer(1, 1 << 14);
    operation->copies = spec.get("copies").integer(1, 256);
    const int64_t in_and_out = operation->in + operation->out;
    if (operation->in * operation->out * 2 * operation->copies + operation->rows * in_and_out * 4 > kMaxBytes) {
      invalid_argument(format("measurement: its matrices and rows are larger than %lld bytes", static_cast<long long>(kMaxBytes)));
    }
  } else if (operation->kind != "fma" && operation->kind != "pairs" && operation->kind != "int8") {
    invalid_argument("measurement.kind: read, fma, pairs, int8 or linear was expected");
  }
  return host->submit(env, std::move(operation));
}

}  // namespace moiety
