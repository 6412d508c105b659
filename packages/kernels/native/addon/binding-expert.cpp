#include "bindings.h"
#include "values.h"

namespace moiety {
namespace {

class LoadExpert : public Operation {
 public:
  LoadExpert(std::shared_ptr<Host> host, std::shared_ptr<ExpertTable> table, ExpertRefs refs)
      : Operation(std::move(host)), table_(std::move(table)), refs_(std::move(refs)) {}

 protected:
  void compute(Team&) override { weights_ = load_expert(host_->files(), table_->shape, table_->activation, refs_); }
  void finish() override {
    if (weights_) table_->held[{refs_.layer, refs_.expert}] = std::move(weights_);
  }

 private:
  const std::shared_ptr<ExpertTable> table_;
  const ExpertRefs refs_;
  std::shared_ptr<const ExpertWeights> weights_;
};

// Holds the weights until all that was queued before is done.
class UnloadExpert : public Operation {
 public:
  UnloadExpert(std::shared_ptr<Host> host, std::shared_ptr<const ExpertWeights> weights)
      : Operation(std::move(host)), weights_(std::move(weights)) {}

 protected:
  void compute(Team&) override {}
  void release() override { weights_.reset(); }

 private:
  std::shared_ptr<const ExpertWeights> weights_;
};

class RunExperts : public Operation {
 public:
  RunExperts(std::shared_ptr<Host> host, std::shared_ptr<ExpertRunner> runner)
      : Operation(std::move(host)), runner_(std::move(runner)) {}
  std::vector<ExpertPair> pairs;
  // The experts in use, so that an unload in the meantime does not free them.
  std::vector<std::shared_ptr<const ExpertWeights>> experts;

 protected:
  void compute(Team& team) override { runner_->run(team, pairs); }
  void release() override {
    experts.clear();
    runner_.reset();
  }

 private:
  std::shared_ptr<ExpertRunner> runner_;
};

void check_layer(int64_t layer, const ModelShape& shape) {
  if (layer < 0 || layer >= shape.layers) {
    invalid_argument(format("layer is %lld; the model has %lld layers", static_cast<long long>(layer), static_cast<long long>(shape.layers)));
  }
}

void check_expert(int64_t expert, const ModelShape& shape) {
  if (expert < 0 || expert >= shape.experts) {
    invalid_argument(format("expert is %lld; a layer has %lld experts", static_cast<long long>(expert), static_cast<long long>(shape.experts)));
  }
}

// The rows of the call's buffers, checked against their lengths.
struct CallRows {
  std::vector<TypedSpan<uint8_t>> inputs;
  // One address per pair.
  std::vector<uint8_t*> outputs;
};

CallRows read_rows(const Field& call, Operation& operation, int64_t row_bytes, int64_t pairs) {
  CallRows rows;
  bool surplus = false;
  const auto read = [&](const Field& field) {
    const auto span = read_u8(field);
    if (span.count % row_bytes != 0) {
      invalid_argument(format("%s has %lld bytes; a multiple of %lld was expected", field.name.c_str(), static_cast<long long>(span.count),
                              static_cast<long long>(row_bytes)));
    }
    operation.keep(span.owner);
    return span;
  };
  for (const Field& field : call.get("inputs").elements()) rows.inputs.push_back(read(field));
  for (const Field& field : call.get("outputs").elements()) {
    const auto span = read(field);
    surplus = static_cast<int64_t>(rows.outputs.size()) + span.count / row_bytes > pairs;
    if (surplus) break;
    for (int64_t at = 0; at < span.count; at += row_bytes) rows.outputs.push_back(span.data + at);
  }
  if (surplus || static_cast<int64_t>(rows.outputs.size()) != pairs) {
    invalid_argument(format("outputs do not have one row of %lld bytes for each of %lld pairs", static_cast<long long>(row_bytes),
                            static_cast<long long>(pairs)));
  }
  return rows;
}

void read_call(const Field& call, const ExpertTable& table, RunExperts& operation) {
  const int64_t row_bytes = table.shape.hidden * element_bytes(table.activation);
  const int64_t layer = call.get("layer").integer();
  check_layer(layer, table.shape);
  const Field pairs = call.get("pairs");
  const auto input = read_u16(pairs.get("input"));
  const auto row = read_u32(pairs.get("row"));
  const auto expert = read_u16(pairs.get("expert"));
  if (input.count != row.count || expert.count != row.count) {
    invalid_argument(format("pairs has %lld inputs, %lld rows and %lld experts; as many of each were expected", static_cast<long long>(input.count),
                            static_cast<long long>(row.count), static_cast<long long>(expert.count)));
  }
  const CallRows rows = read_rows(call, operation, row_bytes, row.count);
  std::vector<const ExpertWeights*> held(static_cast<size_t>(table.shape.experts), nullptr);
  operation.pairs.reserve(static_cast<size_t>(row.count));
  for (int64_t i = 0; i < row.count; ++i) {
    const int64_t chosen = expert.data[i];
    check_expert(chosen, table.shape);
    const ExpertWeights*& weights = held[static_cast<size_t>(chosen)];
    if (weights == nullptr) {
      const auto found = table.held.find({layer, chosen});
      if (found == table.held.end()) {
        failed_precondition(format("expert %lld of layer %lld is not held", static_cast<long long>(chosen), static_cast<long long>(layer)));
      }
      operation.experts.push_back(found->second);
      weights = found->second.get();
    }
    if (input.data[i] >= rows.inputs.size()) {
      invalid_argument(format("pairs.input[%lld] is %u; the call has %zu inputs", static_cast<long long>(i), input.data[i], rows.inputs.size()));
    }
    const auto& source = rows.inputs[input.data[i]];
    if (row.data[i] >= source.count / row_bytes) {
      invalid_argument(format("pairs.row[%lld] is %u; input %u has %lld rows", static_cast<long long>(i), row.data[i], input.data[i],
                              static_cast<long long>(source.count / row_bytes)));
    }
    operation.pairs.push_back({weights, source.data + row.data[i] * row_bytes, rows.outputs[static_cast<size_t>(i)]});
  }
}

}  // namespace

Napi::Function ExpertEngineObject::define(Napi::Env env) {
  return DefineClass(env, "ExpertEngine",
                     {InstanceMethod<&ExpertEngineObject::load>("load"), InstanceMethod<&ExpertEngineObject::unload>("unload"),
                      InstanceMethod<&ExpertEngineObject::holds>("holds"), InstanceMethod<&ExpertEngineObject::run>("run"),
                      InstanceAccessor<&ExpertEngineObject::resident_bytes>("residentBytes")});
}

ExpertEngineObject::ExpertEngineObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {}

void ExpertEngineObject::fill(std::shared_ptr<Host> host, std::shared_ptr<ExpertTable> table) {
  host_ = std::move(host);
  table_ = std::move(table);
}

Napi::Value ExpertEngineObject::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return promised(env, *host_, [&]() -> Napi::Value {
    ExpertRefs refs = read_expert_refs({info[0], "refs"});
    check_layer(refs.layer, table_->shape);
    check_expert(refs.expert, table_->shape);
    return host_->submit_load(env, std::make_unique<LoadExpert>(host_, table_, std::move(refs)));
  });
}

Napi::Value ExpertEngineObject::unload(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return promised(env, *host_, [&]() -> Napi::Value {
    const int64_t layer = Field{info[0], "layer"}.integer();
    const int64_t expert = Field{info[1], "expert"}.integer();
    const auto found = table_->held.find({layer, expert});
    if (found == table_->held.end()) {
      failed_precondition(format("expert %lld of layer %lld is not held", static_cast<long long>(expert), static_cast<long long>(layer)));
    }
    auto weights = found->second;
    const Napi::Promise promise = host_->submit(env, std::make_unique<UnloadExpert>(host_, std::move(weights)));
    table_->held.erase(found);
    return promise;
  });
}

Napi::Value ExpertEngineObject::holds(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, *host_, [&]() -> Napi::Value {
    return Napi::Boolean::New(env, table_->held.count({Field{info[0], "layer"}.integer(), Field{info[1], "expert"}.integer()}) > 0);
  });
}

Napi::Value ExpertEngineObject::resident_bytes(const Napi::CallbackInfo& info) {
  int64_t bytes = 0;
  for (const auto& [key, weights] : table_->held) bytes += weights->resident_bytes;
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

Napi::Value ExpertEngineObject::run(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return promised(env, *host_, [&]() -> Napi::Value {
    auto operation = std::make_unique<RunExperts>(host_, table_->runner);
    read_call({info[0], "call"}, *table_, *operation);
    return host_->submit(env, std::move(operation));
  });
}

}  // namespace moiety
