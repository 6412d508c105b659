#include "values.h"

#include <cmath>

#include "fault.h"

namespace moiety {
namespace {

[[noreturn]] void expected(const Field& field, const char* what) {
  invalid_argument(format("%s: %s was expected", field.name.c_str(), what));
}

template <class T>
TypedSpan<T> read_typed(const Field& field, napi_typedarray_type type, const char* what) {
  if (!field.value.IsTypedArray()) expected(field, what);
  const auto array = field.value.As<Napi::TypedArray>();
  if (array.TypedArrayType() != type) expected(field, what);
  // napi_get_typedarray_info gives the address with the byte offset added.
  void* data = nullptr;
  size_t length = 0;
  if (napi_get_typedarray_info(array.Env(), array, nullptr, &length, &data, nullptr, nullptr) != napi_ok) expected(field, what);
  return {static_cast<T*>(data), static_cast<int64_t>(length), array};
}

TensorRef read_tensor(const Field& field) {
  TensorRef ref;
  ref.file = field.get("file").text();
  ref.name = field.get("name").text();
  ref.dtype = field.get("dtype").text();
  for (const Field& size : field.get("shape").elements()) ref.shape.push_back(size.integer());
  ref.offset = field.get("offsetBytes").integer();
  ref.length = field.get("lengthBytes").integer();
  return ref;
}

LinearRefs read_linear(const Field& field) { return {read_tensor(field.get("weight")), read_tensor(field.get("bias"))}; }

ExpertWeightRefs read_expert_weight(const Field& field) {
  const std::string kind = field.get("kind").text();
  if (kind == "mxfp4") return {true, read_tensor(field.get("blocks")), read_tensor(field.get("scales")), {}};
  if (kind == "bf16-transposed") return {false, {}, {}, read_tensor(field.get("weight"))};
  expected(field.get("kind"), "mxfp4 or bf16-transposed");
}

SequenceRows read_sequence(const Field& field) {
  const auto bounded = [&](const char* key) { return field.get(key).integer(INT32_MIN, INT32_MAX); };
  const auto full = read_i32(field.get("fullPages"));
  const auto sliding = read_i32(field.get("slidingPages"));
  return {bounded("rowStart"),
          bounded("rowCount"),
          bounded("positionStart"),
          {full.data, full.data + full.count},
          {sliding.data, sliding.data + sliding.count},
          bounded("slidingFirstBlock")};
}

}  // namespace

Field Field::get(const char* key) const { return {object().Get(key), name.empty() ? key : name + "." + key}; }

std::vector<Field> Field::elements() const {
  if (!value.IsArray()) expected(*this, "an array");
  const auto array = value.As<Napi::Array>();
  std::vector<Field> fields;
  fields.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) fields.push_back({array.Get(i), format("%s[%u]", name.c_str(), i)});
  return fields;
}

double Field::number() const {
  if (!value.IsNumber()) expected(*this, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

int64_t Field::integer() const {
  const double value_read = number();
  if (std::trunc(value_read) != value_read || std::fabs(value_read) > 9007199254740992.0) expected(*this, "an integer");
  return static_cast<int64_t>(value_read);
}

int64_t Field::integer(int64_t least, int64_t most) const {
  const int64_t value_read = integer();
  if (value_read < least || value_read > most) {
    expected(*this, format("an integer of %lld to %lld", static_cast<long long>(least), static_cast<long long>(most)).c_str());
  }
  return value_read;
}

uint64_t Field::uint64() const {
  if (!value.IsBigInt()) expected(*this, "a bigint");
  bool lossless = false;
  const uint64_t number_read = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) expected(*this, "a bigint of 0 to 2^64 - 1");
  return number_read;
}

bool Field::boolean() const {
  if (!value.IsBoolean()) expected(*this, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string Field::text() const {
  if (!value.IsString()) expected(*this, "a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object Field::object() const {
  if (!value.IsObject()) expected(*this, "an object");
  return value.As<Napi::Object>();
}

TypedSpan<uint8_t> read_u8(const Field& field) { return read_typed<uint8_t>(field, napi_uint8_array, "a Uint8Array"); }
TypedSpan<uint16_t> read_u16(const Field& field) { return read_typed<uint16_t>(field, napi_uint16_array, "a Uint16Array"); }
TypedSpan<int32_t> read_i32(const Field& field) { return read_typed<int32_t>(field, napi_int32_array, "an Int32Array"); }
TypedSpan<uint32_t> read_u32(const Field& field) { return read_typed<uint32_t>(field, napi_uint32_array, "a Uint32Array"); }
TypedSpan<float> read_f32(const Field& field) { return read_typed<float>(field, napi_float32_array, "a Float32Array"); }

RopeShape read_rope(const Field& rope) {
  return {rope.get("theta").number(),    rope.get("factor").number(),          rope.get("betaFast").number(),
          rope.get("betaSlow").number(), rope.get("originalContext").number(), rope.get("truncate").boolean()};
}

ModelShape read_shape(const Field& config) {
  ModelShape shape;
  shape.layers = config.get("layers").integer();
  shape.hidden = config.get("hiddenSize").integer();
  shape.intermediate = config.get("intermediateSize").integer();
  shape.experts = config.get("experts").integer();
  shape.experts_per_token = config.get("expertsPerToken").integer();
  shape.head_dim = config.get("headDim").integer();
  shape.query_heads = config.get("queryHeads").integer();
  shape.kv_heads = config.get("kvHeads").integer();
  shape.vocab = config.get("vocabSize").integer();
  shape.sliding_window = config.get("slidingWindow").integer();
  shape.max_context = config.get("maxContext").integer();
  for (const Field& kind : config.get("attention").elements()) {
    const std::string text = kind.text();
    if (text != "sliding" && text != "full") expected(kind, "full or sliding");
    shape.sliding.push_back(text == "sliding");
  }
  shape.rope = read_rope(config.get("rope"));
  shape.rms_norm_eps = static_cast<float>(config.get("rmsNormEps").number());
  shape.swiglu_limit = static_cast<float>(config.get("swigluLimit").number());
  check_shape(shape);
  return shape;
}

Activation read_activation(const Field& field) {
  const std::string text = field.text();
  if (text == "f32") return Activation::f32;
  if (text == "bf16") return Activation::bf16;
  if (text == "int8") return Activation::int8;
  expected(field, "f32, bf16 or int8");
}

AttentionRefs read_attention_refs(const Field& refs) {
  AttentionRefs read;
  read.embedding = read_tensor(refs.get("embedding"));
  read.final_norm = read_tensor(refs.get("finalNorm"));
  read.unembedding = read_tensor(refs.get("unembedding"));
  for (const Field& layer : refs.get("layers").elements()) {
    read.layers.push_back({read_tensor(layer.get("attentionNorm")), read_linear(layer.get("query")), read_linear(layer.get("key")),
                           read_linear(layer.get("value")), read_linear(layer.get("output")), read_tensor(layer.get("sinks")),
                           read_tensor(layer.get("mlpNorm")), read_linear(layer.get("router"))});
  }
  return read;
}

ExpertRefs read_expert_refs(const Field& refs) {
  return {refs.get("layer").integer(),          refs.get("expert").integer(),
          read_expert_weight(refs.get("gateUp")), read_tensor(refs.get("gateUpBias")),
          read_expert_weight(refs.get("down")),   read_tensor(refs.get("downBias"))};
}

KvPoolShape read_kv(const Field& kv) {
  return {kv.get("pageTokens").integer(), kv.get("fullPages").integer(), kv.get("slidingPages").integer()};
}

BatchSpec read_batch(const Field& spec) {
  const auto tokens = read_i32(spec.get("tokens"));
  BatchSpec read;
  read.tokens.assign(tokens.data, tokens.data + tokens.count);
  for (const Field& sequence : spec.get("sequences").elements()) read.sequences.push_back(read_sequence(sequence));
  return read;
}

}  // namespace moiety
