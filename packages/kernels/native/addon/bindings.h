// The objects that JavaScript sees; their methods have the names and shapes of src/types.ts.
#pragma once
#include <napi.h>

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "attention-engine.h"
#include "expert-engine.h"
#include "host.h"

namespace moiety {

// Constructors of one environment.
struct AddonData {
  Napi::FunctionReference kernels, attention_engine, expert_engine, batch;
};

class KernelsObject : public Napi::ObjectWrap<KernelsObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit KernelsObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value create_attention_engine(const Napi::CallbackInfo& info);
  Napi::Value create_expert_engine(const Napi::CallbackInfo& info);
  Napi::Value measure(const Napi::CallbackInfo& info);
  Napi::Value read_bytes(const Napi::CallbackInfo& info);
  Napi::Value running_ms(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Host> host_;
};

struct AttentionState;

// What the operations on a batch share with its JavaScript object.
struct BatchState {
  Batch batch;
  // Of the engine that made it; held, so that no later engine can have its address.
  std::shared_ptr<const AttentionState> engine;
  // Main thread only.
  int64_t pending = 0;
  bool released = false;
};

// An engine with the memory of released batches, ready for the next ones.
struct AttentionState {
  std::shared_ptr<AttentionEngine> engine;
  std::vector<std::shared_ptr<BatchMemory>> spare;

  std::shared_ptr<BatchMemory> take(int64_t rows);
  void give_back(std::shared_ptr<BatchMemory> memory);
};

class BatchObject : public Napi::ObjectWrap<BatchObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit BatchObject(const Napi::CallbackInfo& info);
  // Makes the views; called once, by the engine.
  void fill(Napi::Env env, std::shared_ptr<Host> host, std::shared_ptr<AttentionState> engine, std::shared_ptr<BatchState> state);
  const std::shared_ptr<BatchState>& state() const { return state_; }

 private:
  Napi::Value release(const Napi::CallbackInfo& info);

  std::shared_ptr<Host> host_;
  std::shared_ptr<AttentionState> engine_;
  std::shared_ptr<BatchState> state_;
  Napi::Reference<Napi::ArrayBuffer> block_;
};

class AttentionEngineObject : public Napi::ObjectWrap<AttentionEngineObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit AttentionEngineObject(const Napi::CallbackInfo& info);
  void fill(Napi::Env env, std::shared_ptr<Host> host, std::shared_ptr<AttentionEngine> engine);

 private:
  Napi::Value create_batch(const Napi::CallbackInfo& info);
  Napi::Value attend(const Napi::CallbackInfo& info);
  Napi::Value combine(const Napi::CallbackInfo& info);
  Napi::Value logits(const Napi::CallbackInfo& info);
  Napi::Value sample(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  // Throw Fault when closed, or when the argument is not a live batch of this engine.
  const std::shared_ptr<AttentionEngine>& engine() const;
  std::shared_ptr<BatchState> batch(const Napi::Value& value) const;

  std::shared_ptr<Host> host_;
  std::shared_ptr<AttentionState> state_;
};

// What an expert engine holds; main thread only.
struct ExpertTable {
  ModelShape shape;
  Activation activation;
  std::map<std::pair<int64_t, int64_t>, std::shared_ptr<const ExpertWeights>> held;
  std::shared_ptr<ExpertRunner> runner;
};

class ExpertEngineObject : public Napi::ObjectWrap<ExpertEngineObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ExpertEngineObject(const Napi::CallbackInfo& info);
  void fill(std::shared_ptr<Host> host, std::shared_ptr<ExpertTable> table);

 private:
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value unload(const Napi::CallbackInfo& info);
  Napi::Value holds(const Napi::CallbackInfo& info);
  Napi::Value resident_bytes(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);

  std::shared_ptr<Host> host_;
  std::shared_ptr<ExpertTable> table_;
};

// Small synchronous functions for tests, in binding-primitives.cpp.
void define_primitives(Napi::Env env, Napi::Object exports);
// Synthetic work with its time, in measure.cpp.
Napi::Value start_measurement(Napi::Env env, const std::shared_ptr<Host>& host, const Napi::Value& spec);

}  // namespace moiety
