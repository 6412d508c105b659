// Reading JavaScript values into plain structs. Every fault names the field.
#pragma once
#include <napi.h>

#include <string>
#include <vector>

#include "attention-engine.h"
#include "expert-engine.h"
#include "model-shape.h"

namespace moiety {

// A value with the name that messages give it.
struct Field {
  Napi::Value value;
  std::string name;

  bool absent() const { return value.IsUndefined(); }
  Field get(const char* key) const;
  // Elements of an array.
  std::vector<Field> elements() const;
  double number() const;
  // An integer of at most 2^53 in magnitude.
  int64_t integer() const;
  // An integer of least to most.
  int64_t integer(int64_t least, int64_t most) const;
  uint64_t uint64() const;
  bool boolean() const;
  std::string text() const;
  Napi::Object object() const;
};

// Memory of a typed array of exactly this type, and the object that owns it.
template <class T>
struct TypedSpan {
  T* data;
  int64_t count;
  Napi::Object owner;
};
TypedSpan<uint8_t> read_u8(const Field& field);
TypedSpan<uint16_t> read_u16(const Field& field);
TypedSpan<int32_t> read_i32(const Field& field);
TypedSpan<uint32_t> read_u32(const Field& field);
TypedSpan<float> read_f32(const Field& field);

ModelShape read_shape(const Field& config);
Activation read_activation(const Field& field);
AttentionRefs read_attention_refs(const Field& refs);
ExpertRefs read_expert_refs(const Field& refs);
KvPoolShape read_kv(const Field& kv);
BatchSpec read_batch(const Field& spec);
RopeShape read_rope(const Field& rope);

}  // namespace moiety
