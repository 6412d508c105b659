#include <system_error>

#include "bindings.h"
#include "values.h"

namespace moiety {
namespace {

class CreateAttentionEngine : public Operation {
 public:
  CreateAttentionEngine(std::shared_ptr<Host> host, ModelShape shape, AttentionRefs refs, Activation activation, KvPoolShape kv)
      : Operation(std::move(host)), shape_(std::move(shape)), refs_(std::move(refs)), activation_(activation), kv_(kv) {}

 protected:
  void compute(Team&) override {
    engine_ = std::make_shared<AttentionEngine>(host_->files(), host_->kernels(), shape_, refs_, activation_, kv_, host_->threads());
  }
  Napi::Value result(Napi::Env env) override {
    const Napi::Object object = env.GetInstanceData<AddonData>()->attention_engine.New({});
    AttentionEngineObject::Unwrap(object)->fill(env, host_, engine_);
    return object;
  }

 private:
  const ModelShape shape_;
  const AttentionRefs refs_;
  const Activation activation_;
  const KvPoolShape kv_;
  std::shared_ptr<AttentionEngine> engine_;
};

}  // namespace

Napi::Function KernelsObject::define(Napi::Env env) {
  return DefineClass(env, "Kernels",
                     {InstanceMethod<&KernelsObject::create_attention_engine>("createAttentionEngine"),
                      InstanceMethod<&KernelsObject::create_expert_engine>("createExpertEngine"),
                      InstanceMethod<&KernelsObject::measure>("measure"), InstanceMethod<&KernelsObject::close>("close"),
                      InstanceAccessor<&KernelsObject::read_bytes>("readBytes"),
                      InstanceAccessor<&KernelsObject::running_ms>("runningMs")});
}

// new Kernels(level, threads, makeError); a level that this CPU or build lacks is the caller's to rule out.
KernelsObject::KernelsObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const Napi::Env env = info.Env();
  const std::string level = info[0].As<Napi::String>().Utf8Value();
  const KernelTable* const kernels = kernel_table(level.c_str());
  if (kernels == nullptr) throw Napi::Error::New(env, "no such kernel level: " + level);
  const int threads = info[1].As<Napi::Number>().Int32Value();
  const auto make_error = info[2].As<Napi::Function>();
  try {
    host_ = std::make_shared<Host>(env, *kernels, threads, make_error);
  } catch (const std::system_error& fault) {
    const std::string message = format("%d threads cannot be started: %s", threads, fault.what());
    throw Napi::Error(env, make_error.Call({Napi::String::New(env, "RESOURCE_EXHAUSTED"), Napi::String::New(env, message)}));
  }
  const Napi::Object self = info.This().As<Napi::Object>();
  self.Set("level", kernels->name);
  self.Set("threads", threads);
}

Napi::Value KernelsObject::create_attention_engine(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return promised(env, *host_, [&]() -> Napi::Value {
    const Field spec{info[0], "spec"};
    return host_->submit_load(env, std::make_unique<CreateAttentionEngine>(host_, read_shape(spec.get("config")),
                                                                           read_attention_refs(spec.get("refs")),
                                                                           read_activation(spec.get("activation")), read_kv(spec.get("kv"))));
  });
}

Napi::Value KernelsObject::create_expert_engine(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, *host_, [&]() -> Napi::Value {
    const Field spec{info[0], "spec"};
    auto table = std::make_shared<ExpertTable>();
    table->shape = read_shape(spec.get("config"));
    table->activation = read_activation(spec.get("activation"));
    table->runner = std::make_shared<ExpertRunner>(host_->kernels(), table->shape, table->activation);
    const Napi::Object object = env.GetInstanceData<AddonData>()->expert_engine.New({});
    ExpertEngineObject::Unwrap(object)->fill(host_, std::move(table));
    return object;
  });
}

Napi::Value KernelsObject::measure(const Napi::CallbackInfo& info) {
  return promised(info.Env(), *host_, [&] { return start_measurement(info.Env(), host_, info[0]); });
}

Napi::Value KernelsObject::read_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(host_->files().read_bytes()));
}

Napi::Value KernelsObject::running_ms(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), std::chrono::duration<double, std::milli>(host_->running_for()).count());
}

Napi::Value KernelsObject::close(const Napi::CallbackInfo& info) { return host_->close(info.Env()); }

}  // namespace moiety
