#include "binding-sampling.h"

#include "fault.h"

namespace moiety {
namespace {

SamplingParams read_params(const Field& params) {
  return {params.get("temperature").number(),       params.get("topK").integer(),
          params.get("topP").number(),              params.get("minP").number(),
          params.get("repetitionPenalty").number(), params.get("presencePenalty").number(),
          params.get("frequencyPenalty").number(),  params.get("seed").uint64()};
}

template <class T>
Span<T> keep_span(const Keep& keep, const TypedSpan<T>& span) {
  keep(span.owner);
  return {span.data, span.count};
}

}  // namespace

SampleRequest read_request(const Field& field, int64_t rows, const Keep& keep) {
  SampleRequest request{};
  request.row = read_row(field.get("row"), field.get("row").integer(), rows);
  request.params = read_params(field.get("params"));
  const int64_t counter = field.get("counter").integer();
  if (counter < 0) invalid_argument(format("%s.counter must not be negative", field.name.c_str()));
  request.counter = static_cast<uint64_t>(counter);
  const SamplingParams& params = request.params;
  const bool repeats = params.repetition_penalty != 1.0;
  const bool penalised = repeats || params.presence_penalty != 0.0 || params.frequency_penalty != 0.0;
  const Field prompt = field.get("promptTokens");
  const Field output = field.get("outputTokens");
  if (repeats && !prompt.absent()) request.prompt_tokens = keep_span(keep, read_i32(prompt));
  if (penalised && !output.absent()) request.output_tokens = keep_span(keep, read_i32(output));
  const Field bias = field.get("bias");
  if (!bias.absent()) {
    request.bias_ids = keep_span(keep, read_i32(bias.get("ids")));
    request.bias_values = keep_span(keep, read_f32(bias.get("values")));
  }
  const Field allowed = field.get("allowed");
  if (!allowed.absent()) {
    request.allowed = keep_span(keep, read_u32(allowed));
    if (request.allowed.count == 0) invalid_argument(format("%s is empty", allowed.name.c_str()));
  }
  const Field top = field.get("topLogprobs");
  request.top_logprobs = top.absent() ? -1 : top.integer();
  if (!top.absent() && request.top_logprobs < 0) invalid_argument(format("%s must not be negative", top.name.c_str()));
  return request;
}

int32_t read_row(const Field& field, int64_t row, int64_t rows) {
  if (row < 0 || row >= rows) {
    invalid_argument(format("%s is %lld; the batch has %lld rows", field.name.c_str(), static_cast<long long>(row), static_cast<long long>(rows)));
  }
  return static_cast<int32_t>(row);
}

Napi::Value make_sample(Napi::Env env, const Host& host, const SampleOutcome& outcome) {
  if (outcome.fault_code != nullptr) return host.error(env, outcome.fault_code, outcome.fault_message);
  return make_sample(env, outcome);
}

Napi::Object make_sample(Napi::Env env, const SampleOutcome& outcome) {
  const auto object = Napi::Object::New(env);
  object.Set("token", outcome.token);
  if (!outcome.has_logprob) return object;
  object.Set("logprob", outcome.logprob);
  const auto top = Napi::Array::New(env, outcome.top.size());
  for (size_t i = 0; i < outcome.top.size(); ++i) {
    const auto entry = Napi::Object::New(env);
    entry.Set("token", outcome.top[i].token);
    entry.Set("logprob", outcome.top[i].logprob);
    top.Set(static_cast<uint32_t>(i), entry);
  }
  object.Set("top", top);
  return object;
}

}  // namespace moiety
