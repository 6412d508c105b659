#include "bindings.h"

namespace moiety {
namespace {

constexpr size_t kSpareBlocks = 8;

}  // namespace

std::shared_ptr<BatchMemory> AttentionState::take(int64_t rows) {
  for (auto block = spare.begin(); block != spare.end(); ++block) {
    if ((*block)->rows() == rows) {
      auto memory = std::move(*block);
      spare.erase(block);
      return memory;
    }
  }
  return std::make_shared<BatchMemory>(engine->shape(), engine->activation(), rows);
}

void AttentionState::give_back(std::shared_ptr<BatchMemory> memory) {
  spare.push_back(std::move(memory));
  if (spare.size() > kSpareBlocks) spare.erase(spare.begin());
}

Napi::Function BatchObject::define(Napi::Env env) {
  return DefineClass(env, "Batch", {InstanceMethod<&BatchObject::release>("release")});
}

BatchObject::BatchObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

void BatchObject::fill(Napi::Env env, std::shared_ptr<Host> host, std::shared_ptr<AttentionState> engine, std::shared_ptr<BatchState> state) {
  host_ = std::move(host);
  engine_ = std::move(engine);
  state_ = std::move(state);
  const Batch& batch = state_->batch;
  const ModelShape& shape = engine_->engine->shape();
  const size_t rows = static_cast<size_t>(batch.rows());
  const size_t chosen = rows * static_cast<size_t>(shape.experts_per_token);
  const BatchMemory& memory = *batch.memory;
  // Views keep the memory alive, even those that outlive this object.
  auto* const owner = new std::shared_ptr<BatchMemory>(batch.memory);
  const auto block = Napi::ArrayBuffer::New(env, memory.data(), static_cast<size_t>(memory.length()),
                                            [](Napi::Env, void*, std::shared_ptr<BatchMemory>* kept) { delete kept; }, owner);
  block_ = Napi::Persistent(block);
  const Napi::Object self = Value();
  self.Set("rows", static_cast<double>(rows));
  self.Set("residual", Napi::Float32Array::New(env, rows * static_cast<size_t>(shape.hidden), block, 0));
  self.Set("expertWeights", Napi::Float32Array::New(env, chosen, block, static_cast<size_t>(memory.weights_offset())));
  self.Set("normed", Napi::Uint8Array::New(env, rows * static_cast<size_t>(engine_->engine->row_bytes()), block,
                                           static_cast<size_t>(memory.normed_offset())));
  self.Set("expertIds", Napi::Uint16Array::New(env, chosen, block, static_cast<size_t>(memory.ids_offset())));
}

Napi::Value BatchObject::release(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, *host_, [&]() -> Napi::Value {
    if (state_->released) return env.Undefined();
    if (state_->pending > 0) failed_precondition("batch.release: operations on the batch are pending");
    state_->released = true;
    Napi::ArrayBuffer block = block_.Value();
    block.Detach();
    block_.Reset();
    engine_->give_back(std::move(state_->batch.memory));
    return env.Undefined();
  });
}

}  // namespace moiety
