#include "binding-sampling.h"
#include "bindings.h"
#include "values.h"

namespace moiety {
namespace {

// 4 GiB: node ends the process when it cannot allocate an array.
constexpr int64_t kMaxLogits = int64_t{1} << 30;

// An operation on one batch of one engine.
class BatchOperation : public Operation {
 public:
  BatchOperation(std::shared_ptr<Host> host, std::shared_ptr<AttentionEngine> engine, std::shared_ptr<BatchState> state)
      : Operation(std::move(host)), engine_(std::move(engine)), state_(std::move(state)) {}
  // On the main thread, once the operation is queued.
  static Napi::Value queue(Napi::Env env, Host& host, std::unique_ptr<BatchOperation> operation) {
    const std::shared_ptr<BatchState> state = operation->state_;
    const Napi::Promise promise = host.submit(env, std::move(operation));
    state->pending += 1;
    return promise;
  }

 protected:
  void release() override { engine_.reset(); }
  void finish() override { state_->pending -= 1; }
  AttentionEngine& engine() { return *engine_; }
  Batch& batch() { return state_->batch; }

 private:
  std::shared_ptr<AttentionEngine> engine_;
  const std::shared_ptr<BatchState> state_;
};

class Attend : public BatchOperation {
 public:
  using BatchOperation::BatchOperation;
  int64_t layer = 0;

 protected:
  void compute(Team& team) override { engine().attend(team, batch(), layer); }
};

class Combine : public BatchOperation {
 public:
  using BatchOperation::BatchOperation;
  ExpertRowPointers rows;

 protected:
  void compute(Team& team) override { engine().combine(team, batch(), rows); }
};

class Logits : public BatchOperation {
 public:
  using BatchOperation::BatchOperation;
  std::vector<int32_t> rows;
  float* out = nullptr;
  Napi::Reference<Napi::Float32Array> array;

 protected:
  void compute(Team& team) override { engine().logits(team, batch(), rows, out); }
  Napi::Value result(Napi::Env) override { return array.Value(); }
};

class SampleRows : public BatchOperation {
 public:
  using BatchOperation::BatchOperation;
  std::vector<SampleRequest> requests;

 protected:
  void compute(Team& team) override { outcomes_ = engine().sample(team, batch(), requests); }
  Napi::Value result(Napi::Env env) override {
    const auto samples = Napi::Array::New(env, outcomes_.size());
    for (size_t i = 0; i < outcomes_.size(); ++i) samples.Set(static_cast<uint32_t>(i), make_sample(env, *host_, outcomes_[i]));
    return samples;
  }

 private:
  std::vector<SampleOutcome> outcomes_;
};

// Where each (row, choice) lies; every one exactly once.
ExpertRowPointers read_parts(const Field& parts, Operation& operation, const AttentionEngine& engine, int64_t rows) {
  const int64_t row_bytes = engine.row_bytes();
  ExpertRowPointers pointers(static_cast<size_t>(rows * engine.shape().experts_per_token), nullptr);
  size_t filled = 0;
  for (const Field& part : parts.elements()) {
    const auto data = read_u8(part.get("rows"));
    const auto slots = read_u32(part.get("slots"));
    if (data.count != slots.count * row_bytes) {
      invalid_argument(format("%s.rows has %lld bytes; %lld slots of %lld bytes were expected", part.name.c_str(),
                              static_cast<long long>(data.count), static_cast<long long>(slots.count), static_cast<long long>(row_bytes)));
    }
    operation.keep(data.owner);
    for (int64_t i = 0; i < slots.count; ++i) {
      const size_t slot = slots.data[i];
      if (slot >= pointers.size() || pointers[slot] != nullptr) {
        invalid_argument(format("%s.slots[%lld] is %zu, which %s", part.name.c_str(), static_cast<long long>(i), slot,
                                slot >= pointers.size() ? "the batch does not have" : "is given twice"));
      }
      pointers[slot] = data.data + i * row_bytes;
      filled += 1;
    }
  }
  if (filled != pointers.size()) {
    invalid_argument(format("%s cover %zu of %zu (row, choice) pairs", parts.name.c_str(), filled, pointers.size()));
  }
  return pointers;
}

}  // namespace

Napi::Function AttentionEngineObject::define(Napi::Env env) {
  return DefineClass(env, "AttentionEngine",
                     {InstanceMethod<&AttentionEngineObject::create_batch>("createBatch"),
                      InstanceMethod<&AttentionEngineObject::attend>("attend"), InstanceMethod<&AttentionEngineObject::combine>("combine"),
                      InstanceMethod<&AttentionEngineObject::logits>("logits"), InstanceMethod<&AttentionEngineObject::sample>("sample"),
                      InstanceMethod<&AttentionEngineObject::close>("close")});
}

AttentionEngineObject::AttentionEngineObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

void AttentionEngineObject::fill(Napi::Env, std::shared_ptr<Host> host, std::shared_ptr<AttentionEngine> engine) {
  host_ = std::move(host);
  const Napi::Object self = Value();
  self.Set("weightsBytes", static_cast<double>(engine->weights_bytes()));
  self.Set("kvBytes", static_cast<double>(engine->kv_bytes()));
  state_ = std::make_shared<AttentionState>();
  state_->engine = std::move(engine);
}

const std::shared_ptr<AttentionEngine>& AttentionEngineObject::engine() const {
  if (!state_) failed_precondition("the attention engine is closed");
  return state_->engine;
}

std::shared_ptr<BatchState> AttentionEngineObject::batch(const Napi::Value& value) const {
  static_cast<void>(engine());
  const Napi::Env env = value.Env();
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(env.GetInstanceData<AddonData>()->batch.Value())) {
    invalid_argument("batch: a batch of this engine was expected");
  }
  const auto& state = BatchObject::Unwrap(value.As<Napi::Object>())->state();
  if (!state || state->engine != state_) invalid_argument("batch: it belongs to another engine");
  if (state->released) failed_precondition("batch: it is released");
  return state;
}

Napi::Value AttentionEngineObject::create_batch(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, *host_, [&]() -> Napi::Value {
    const AttentionEngine& native = *engine();
    auto state = std::make_shared<BatchState>(BatchState{Batch(native.shape(), native.kv(), read_batch({info[0], ""})), state_});
    state->batch.memory = state_->take(state->batch.rows());
    const Napi::Object object = env.GetInstanceData<AddonData>()->batch.New({});
    BatchObject::Unwrap(object)->fill(env, host_, state_, std::move(state));
    return object;
  });
}

Napi::Value AttentionEngineObject::attend(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return promised(env, *host_, [&]() -> Napi::Value {
    auto operation = std::make_unique<Attend>(host_, engine(), batch(info[0]));
    operation->layer = Field{info[1], "layer"}.integer();
    if (operation->layer < 0 || operation->layer >= engine()->shape().layers) {
      invalid_argument(format("layer is %lld; the model has %lld layers", static_cast<long long>(operation->layer),
                              static_cast<long long>(engine()->shape().layers)));
    }
    return BatchOperation::queue(env, *host_, std::move(operation));
  });
}

Napi::Value AttentionEngineObject::combine(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return promised(env, *host_, [&]() -> Napi::Value {
    const auto state = batch(info[0]);
    auto operation = std::make_unique<Combine>(host_, engine(), state);
    operation->rows = read_parts({info[1], "parts"}, *operation, *engine(), state->batch.rows());
    return BatchOperation::queue(env, *host_, std::move(operation));
  });
}

Napi::Value AttentionEngineObject::logits(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return promised(env, *host_, [&]() -> Napi::Value {
    const auto state = batch(info[0]);
    auto operation = std::make_unique<Logits>(host_, engine(), state);
    const Field field{info[1], "rows"};
    const auto rows = read_i32(field);
    const int64_t most = kMaxLogits / engine()->shape().vocab;
    if (rows.count > most) {
      invalid_argument(format("rows has %lld entries; at most %lld rows of logits are given at once", static_cast<long long>(rows.count),
                              static_cast<long long>(most)));
    }
    for (int64_t i = 0; i < rows.count; ++i) operation->rows.push_back(read_row(field, rows.data[i], state->batch.rows()));
    auto out = Napi::Float32Array::New(env, static_cast<size_t>(rows.count * engine()->shape().vocab));
    operation->out = out.Data();
    operation->array = Napi::Persistent(out);
    return BatchOperation::queue(env, *host_, std::move(operation));
  });
}

Napi::Value AttentionEngineObject::sample(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return promised(env, *host_, [&]() -> Napi::Value {
    const auto state = batch(info[0]);
    auto operation = std::make_unique<SampleRows>(host_, engine(), state);
    for (const Field& row : Field{info[1], "rows"}.elements()) {
      const auto keep = [&](Napi::Object owner) { operation->keep(owner); };
      operation->requests.push_back(read_request(row, state->batch.rows(), keep));
      check_params(operation->requests.back(), operation->requests.size() - 1, engine()->shape().vocab);
    }
    return BatchOperation::queue(env, *host_, std::move(operation));
  });
}

Napi::Value AttentionEngineObject::close(const Napi::CallbackInfo& info) {
  if (state_) host_->dispose(info.Env(), std::exchange(state_->engine, nullptr));
  state_.reset();
  return info.Env().Undefined();
}

}  // namespace moiety
