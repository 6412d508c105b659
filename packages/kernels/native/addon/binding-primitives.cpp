// Small synchronous functions, one level each, for tests against golden vectors. Every argument is f32 or u8.
#include <cmath>
#include <cstring>

#include "binding-sampling.h"
#include "bindings.h"
#include "rope.h"
#include "values.h"

namespace moiety {
namespace {

const KernelTable& level_of(const Napi::CallbackInfo& info) {
  const KernelTable* const kernels = kernel_table(info[0].As<Napi::String>().Utf8Value().c_str());
  if (kernels == nullptr) throw Napi::Error::New(info.Env(), "no such kernel level");
  return *kernels;
}

// Turns a Fault into a plain Error: primitives have no handle with the caller's error class.
template <class Body>
Napi::Value plain(const Napi::CallbackInfo& info, Body&& body) {
  try {
    return body(info.Env(), level_of(info), Field{info[1], "spec"});
  } catch (const Fault& fault) {
    throw Napi::Error::New(info.Env(), fault.what());
  }
}

std::vector<uint8_t> as_bf16(const KernelTable& kernels, const TypedSpan<float>& values) {
  std::vector<uint8_t> bytes(static_cast<size_t>(values.count) * 2);
  kernels.to_bf16(values.data, bytes.data(), values.count);
  return bytes;
}

Napi::Float32Array output(Napi::Env env, int64_t count) { return Napi::Float32Array::New(env, static_cast<size_t>(count)); }

void check_count(const char* field, int64_t count, int64_t expected) {
  if (count != expected) {
    invalid_argument(format("%s has %lld elements; %lld were expected", field, static_cast<long long>(count), static_cast<long long>(expected)));
  }
}

// A size of an array; products of three of them do not overflow.
int64_t extent(const Field& spec, const char* key, int64_t least = 1) { return spec.get(key).integer(least, 1 << 20); }

void check_multiple(const char* field, int64_t count, int64_t of) {
  if (count % of != 0) {
    invalid_argument(format("%s has %lld elements; a multiple of %lld was expected", field, static_cast<long long>(count), static_cast<long long>(of)));
  }
}

// Of heads that rotate in pairs.
int64_t paired_head_dim(const Field& spec) {
  const int64_t head_dim = extent(spec, "headDim", 2);
  if (head_dim % 2 != 0) invalid_argument("headDim must be even");
  return head_dim;
}

// {x, weight, eps}
Napi::Value rms_norm(const Napi::CallbackInfo& info) {
  return plain(info, [](Napi::Env env, const KernelTable& kernels, const Field& spec) -> Napi::Value {
    const auto x = read_f32(spec.get("x"));
    const auto weight = read_f32(spec.get("weight"));
    if (weight.count == 0) invalid_argument("weight is empty");
    check_multiple("x", x.count, weight.count);
    const auto scale = as_bf16(kernels, weight);
    auto out = output(env, x.count);
    for (int64_t at = 0; at < x.count; at += weight.count) {
      kernels.rms_norm(x.data + at, scale.data(), weight.count, static_cast<float>(spec.get("eps").number()), out.Data() + at, false);
    }
    return out;
  });
}

// {rope, headDim, positions} -> {inverseFrequency, concentration, cos, sin}
Napi::Value rope_tables(const Napi::CallbackInfo& info) {
  return plain(info, [](Napi::Env env, const KernelTable&, const Field& spec) -> Napi::Value {
    const int64_t half = paired_head_dim(spec) / 2;
    const RopeTable table = make_rope_table(read_rope(spec.get("rope")), half * 2);
    const auto positions = read_i32(spec.get("positions"));
    auto cos = output(env, positions.count * half);
    auto sin = output(env, positions.count * half);
    for (int64_t i = 0; i < positions.count; ++i) table.at(positions.data[i], cos.Data() + i * half, sin.Data() + i * half);
    auto frequencies = Napi::Float64Array::New(env, static_cast<size_t>(half));
    for (int64_t i = 0; i < half; ++i) frequencies[static_cast<size_t>(i)] = table.inverse_frequency[static_cast<size_t>(i)];
    const auto result = Napi::Object::New(env);
    result.Set("inverseFrequency", frequencies);
    result.Set("concentration", table.concentration);
    result.Set("cos", cos);
    result.Set("sin", sin);
    return result;
  });
}

// {heads [rows, count, headDim], headDim, cos, sin [rows, headDim/2]}
Napi::Value rope(const Napi::CallbackInfo& info) {
  return plain(info, [](Napi::Env env, const KernelTable& kernels, const Field& spec) -> Napi::Value {
    const auto heads = read_f32(spec.get("heads"));
    const auto cos = read_f32(spec.get("cos"));
    const auto sin = read_f32(spec.get("sin"));
    const int64_t head_dim = paired_head_dim(spec);
    check_multiple("cos", cos.count, head_dim / 2);
    const int64_t rows = cos.count / (head_dim / 2);
    check_count("sin", sin.count, cos.count);
    if (rows == 0) invalid_argument("cos is empty");
    check_multiple("heads", heads.count, rows * head_dim);
    const int64_t count = heads.count / rows / head_dim;
    auto out = output(env, heads.count);
    std::memcpy(out.Data(), heads.data, static_cast<size_t>(heads.count) * 4);
    for (int64_t row = 0; row < rows; ++row) {
      kernels.rope(out.Data() + row * count * head_dim, count, head_dim, cos.data + row * head_dim / 2, sin.data + row * head_dim / 2, false);
    }
    return out;
  });
}

// {u, limit}
Napi::Value swiglu(const Napi::CallbackInfo& info) {
  return plain(info, [](Napi::Env env, const KernelTable& kernels, const Field& spec) -> Napi::Value {
    const auto u = read_f32(spec.get("u"));
    check_multiple("u", u.count, 2);
    auto out = output(env, u.count / 2);
    kernels.swiglu(u.data, u.count / 2, static_cast<float>(spec.get("limit").number()), out.Data(), false);
    return out;
  });
}

// {x [rows, in], weight [out, in] (rounded to bf16), bias?, in, out} -> [rows, out]
Napi::Value linear_bf16(const Napi::CallbackInfo& info) {
  return plain(info, [](Napi::Env env, const KernelTable& kernels, const Field& spec) -> Napi::Value {
    const int64_t in = extent(spec, "in");
    const int64_t out_width = extent(spec, "out");
    const auto x = read_f32(spec.get("x"));
    check_multiple("x", x.count, in);
    const auto weight_values = read_f32(spec.get("weight"));
    check_count("weight", weight_values.count, in * out_width);
    const auto weight = as_bf16(kernels, weight_values);
    std::vector<uint8_t> bias;
    if (!spec.get("bias").absent()) {
      const auto values = read_f32(spec.get("bias"));
      check_count("bias", values.count, out_width);
      bias = as_bf16(kernels, values);
    }
    const int64_t rows = x.count / in;
    auto y = output(env, rows * out_width);
    kernels.linear_bf16({weight.data(), bias.empty() ? nullptr : bias.data(), in, out_width}, {x.data, rows, in}, {y.Data(), rows, out_width}, 0,
                        out_width, false);
    return y;
  });
}

// {x [rows, in], blocks [out, in/32, 16], scales [out, in/32], in, out} -> [rows, out]
Napi::Value linear_mxfp4(const Napi::CallbackInfo& info) {
  return plain(info, [](Napi::Env env, const KernelTable& kernels, const Field& spec) -> Napi::Value {
    const int64_t in = extent(spec, "in");
    const int64_t out_width = extent(spec, "out");
    const auto x = read_f32(spec.get("x"));
    check_multiple("x", x.count, in);
    if (in % 32 != 0) invalid_argument("in must be a multiple of 32");
    const auto blocks = read_u8(spec.get("blocks"));
    const auto scales = read_u8(spec.get("scales"));
    check_count("blocks", blocks.count, out_width * in / 2);
    check_count("scales", scales.count, out_width * in / 32);
    const int64_t rows = x.count / in;
    auto y = output(env, rows * out_width);
    kernels.linear_mxfp4({blocks.data, scales.data, nullptr, in, out_width}, {x.data, rows, in}, {y.Data(), rows, out_width}, 0, out_width, false);
    return y;
  });
}

// {q [T, kv, group, headDim], k, v [T, kv, headDim], sinks [kv * group], kvHeads, group, headDim, window (0: none)}
Napi::Value attention(const Napi::CallbackInfo& info) {
  return plain(info, [](Napi::Env env, const KernelTable& kernels, const Field& spec) -> Napi::Value {
    const int64_t kv_heads = extent(spec, "kvHeads");
    const int64_t group = extent(spec, "group");
    const int64_t head_dim = extent(spec, "headDim");
    const int64_t window = spec.get("window").integer();
    const auto q = read_f32(spec.get("q"));
    const auto k = read_f32(spec.get("k"));
    const auto v = read_f32(spec.get("v"));
    const int64_t width = kv_heads * head_dim;
    check_multiple("k", k.count, width);
    const int64_t positions = k.count / width;
    check_count("q", q.count, positions * group * width);
    check_count("v", v.count, k.count);
    const auto sink_values = read_f32(spec.get("sinks"));
    check_count("sinks", sink_values.count, kv_heads * group);
    const auto sinks = as_bf16(kernels, sink_values);
    auto out = output(env, q.count);
    const KvPages keys{k.data, positions, kv_heads, head_dim, false};
    const KvPages values{v.data, positions, kv_heads, head_dim, false};
    const int32_t page = 0;
    std::vector<float> scores(static_cast<size_t>(group * positions));
    const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
    for (int64_t i = 0; i < positions; ++i) {
      const AttentionRow row{&page, 0, window > 0 ? std::max<int64_t>(0, i - window + 1) : 0, i};
      for (int64_t head = 0; head < kv_heads; ++head) {
        const int64_t at = (i * kv_heads + head) * group * head_dim;
        kernels.attention(row, keys, values, head, q.data + at, group, scale, sinks.data() + head * group * 2, out.Data() + at, scores.data(), false);
      }
    }
    return out;
  });
}

// {logits, row: SampleRow} -> Sample; a fault throws.
Napi::Value sample(const Napi::CallbackInfo& info) {
  return plain(info, [](Napi::Env env, const KernelTable& kernels, const Field& spec) -> Napi::Value {
    const auto logits = read_f32(spec.get("logits"));
    if (logits.count == 0) invalid_argument("logits is empty");
    const SampleRequest request = read_request(spec.get("row"), 1, [](Napi::Object) {});
    check_params(request, 0, logits.count);
    check_tokens(request, logits.count);
    std::vector<float> copy(logits.data, logits.data + logits.count);
    const SampleOutcome outcome = sample_row(kernels, copy.data(), logits.count, request);
    if (outcome.fault_code != nullptr) throw Fault(outcome.fault_code, outcome.fault_message);
    return make_sample(env, outcome);
  });
}

}  // namespace

void define_primitives(Napi::Env env, Napi::Object exports) {
  const auto primitives = Napi::Object::New(env);
  primitives.Set("rmsNorm", Napi::Function::New(env, rms_norm, "rmsNorm"));
  primitives.Set("ropeTables", Napi::Function::New(env, rope_tables, "ropeTables"));
  primitives.Set("rope", Napi::Function::New(env, rope, "rope"));
  primitives.Set("swiglu", Napi::Function::New(env, swiglu, "swiglu"));
  primitives.Set("linearBf16", Napi::Function::New(env, linear_bf16, "linearBf16"));
  primitives.Set("linearMxfp4", Napi::Function::New(env, linear_mxfp4, "linearMxfp4"));
  primitives.Set("attention", Napi::Function::New(env, attention, "attention"));
  primitives.Set("sample", Napi::Function::New(env, sample, "sample"));
  exports.Set("primitives", primitives);
}

}  // namespace moiety
