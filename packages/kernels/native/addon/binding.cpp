// The addon's entry: classes, levels of this CPU, primitives.
#include "bindings.h"

namespace {

Napi::Value available_levels(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto levels = Napi::Array::New(env);
  for (const char* const name : {"scalar", "avx2", "avx512", "neon"}) {
    if (moiety::kernel_table(name) != nullptr) levels.Set(levels.Length(), name);
  }
  return levels;
}

Napi::Value best_level(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), moiety::best_kernel_table()->name); }

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  auto* const data = new moiety::AddonData();
  data->kernels = Napi::Persistent(moiety::KernelsObject::define(env));
  data->attention_engine = Napi::Persistent(moiety::AttentionEngineObject::define(env));
  data->expert_engine = Napi::Persistent(moiety::ExpertEngineObject::define(env));
  data->batch = Napi::Persistent(moiety::BatchObject::define(env));
  env.SetInstanceData(data);
  exports.Set("Kernels", data->kernels.Value());
  exports.Set("availableLevels", Napi::Function::New(env, available_levels, "availableLevels"));
  exports.Set("bestLevel", Napi::Function::New(env, best_level, "bestLevel"));
  moiety::define_primitives(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(moiety_kernels, initialise)
