#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "fault.h"
#include "philox.h"

namespace moiety {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();

struct Candidate {
  int32_t token;
  float value;
};

// More probable first, ties to the lowest id.
bool before(const Candidate& a, const Candidate& b) { return a.value != b.value ? a.value > b.value : a.token < b.token; }

void check_number(const char* field, size_t index, double value, double least, double most) {
  if (value >= least && value <= most) return;
  invalid_argument(format("rows[%zu].params.%s is %g; %g to %g was expected", index, field, value, least, most));
}

bool all_finite(const float* logits, int64_t vocab) {
  bool finite = true;
  for (int64_t token = 0; token < vocab; ++token) finite &= std::isfinite(logits[token]);
  return finite;
}

int32_t argmax(const float* logits, int64_t vocab) {
  int64_t best = 0;
  for (int64_t token = 1; token < vocab; ++token) {
    if (logits[token] > logits[best]) best = token;
  }
  return static_cast<int32_t>(best);
}

std::vector<Candidate> most_probable(const float* logits, int64_t vocab, int64_t count) {
  std::vector<Candidate> all(static_cast<size_t>(vocab));
  for (int64_t token = 0; token < vocab; ++token) all[static_cast<size_t>(token)] = {static_cast<int32_t>(token), logits[token]};
  count = std::min(count, vocab);
  std::partial_sort(all.begin(), all.begin() + count, all.end(), before);
  all.resize(static_cast<size_t>(count));
  return all;
}

// The caller may still write to its arrays: an id is checked where it is used, whatever check_tokens saw.
void check_token(int32_t token, int64_t vocab) {
  if (token < 0 || token >= vocab) invalid_argument(format("token id %d: the vocabulary has %lld tokens", token, static_cast<long long>(vocab)));
}

void apply_bias(float* logits, int64_t vocab, const SampleRequest& request) {
  for (int64_t i = 0; i < request.bias_ids.count; ++i) {
    const int32_t token = request.bias_ids.data[i];
    check_token(token, vocab);
    logits[token] += request.bias_values.data[i];
  }
}

void apply_penalties(float* logits, int64_t vocab, const SampleRequest& request) {
  const SamplingParams& params = request.params;
  const bool repeats = params.repetition_penalty != 1.0;
  if (!repeats && params.presence_penalty == 0.0 && params.frequency_penalty == 0.0) return;
  // How often each token occurs in the output; 0 for those of the prompt alone.
  std::unordered_map<int32_t, int64_t> seen;
  if (repeats) {
    for (int64_t i = 0; i < request.prompt_tokens.count; ++i) seen.emplace(request.prompt_tokens.data[i], 0);
  }
  for (int64_t i = 0; i < request.output_tokens.count; ++i) seen[request.output_tokens.data[i]] += 1;
  for (const auto& [token, occurrences] : seen) {
    check_token(token, vocab);
    double logit = static_cast<double>(logits[token]);
    if (repeats) logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    logit -= params.frequency_penalty * static_cast<double>(occurrences);
    if (occurrences > 0) logit -= params.presence_penalty;
    logits[token] = static_cast<float>(logit);
  }
}

void apply_mask(float* logits, int64_t vocab, Span<uint32_t> allowed) {
  if (allowed.data == nullptr) return;
  for (int64_t token = 0; token < vocab; ++token) {
    if ((allowed.data[token / 32] >> (token % 32) & 1U) == 0) logits[token] = kImpossible;
  }
}

// Draws by the inverse of the cumulative sum, in the candidates' order, in double.
int32_t draw(const std::vector<Candidate>& candidates, double uniform) {
  double total = 0;
  for (const Candidate& candidate : candidates) total += static_cast<double>(candidate.value);
  const double target = uniform * total;
  double sum = 0;
  int32_t last = candidates.front().token;
  for (const Candidate& candidate : candidates) {
    if (candidate.value <= 0) continue;
    sum += static_cast<double>(candidate.value);
    last = candidate.token;
    if (sum > target) break;
  }
  return last;
}

void keep_top_k(std::vector<Candidate>& candidates, int64_t top_k) {
  if (top_k <= 0 || top_k >= static_cast<int64_t>(candidates.size())) return;
  std::nth_element(candidates.begin(), candidates.begin() + top_k, candidates.end(), before);
  candidates.resize(static_cast<size_t>(top_k));
}

void keep_top_p(std::vector<Candidate>& candidates, double top_p) {
  if (top_p >= 1.0) return;
  // In the order of ids: nth_element leaves an order of its own.
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  double total = 0;
  for (const Candidate& candidate : candidates) total += static_cast<double>(candidate.value);
  // All tokens below this share together hold less than 1 - top_p: they cannot be needed, nor need they be sorted.
  const double least = (1.0 - top_p) * total / static_cast<double>(candidates.size()) * 0.5;
  std::vector<Candidate> likely;
  for (const Candidate& candidate : candidates) {
    if (static_cast<double>(candidate.value) >= least) likely.push_back(candidate);
  }
  std::sort(likely.begin(), likely.end(), before);
  double sum = 0;
  size_t kept = 0;
  while (kept < likely.size() && (kept == 0 || sum < top_p * total)) sum += static_cast<double>(likely[kept++].value);
  likely.resize(kept);
  candidates = std::move(likely);
}

// `logits` becomes exp((logit - max) / temperature).
int32_t draw_token(const KernelTable& kernels, float* logits, int64_t vocab, float max, const SampleRequest& request) {
  const SamplingParams& params = request.params;
  const float temperature = static_cast<float>(params.temperature);
  for (int64_t token = 0; token < vocab; ++token) logits[token] = (logits[token] - max) / temperature;
  kernels.exp_shifted(logits, vocab, 0.0f, logits);
  std::vector<Candidate> candidates;
  for (int64_t token = 0; token < vocab; ++token) {
    if (logits[token] > 0 && static_cast<double>(logits[token]) >= params.min_p) candidates.push_back({static_cast<int32_t>(token), logits[token]});
  }
  keep_top_k(candidates, params.top_k);
  keep_top_p(candidates, params.top_p);
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
  return draw(candidates, philox_uniform(params.seed, request.counter));
}

void report_logprobs(const KernelTable& kernels, const float* logits, int64_t vocab, int64_t count, SampleOutcome& outcome, double& log_sum) {
  const float max = logits[argmax(logits, vocab)];
  log_sum = static_cast<double>(max) + std::log(static_cast<double>(kernels.sum_exp(logits, vocab, max)));
  if (count == 0) return;
  for (const Candidate& candidate : most_probable(logits, vocab, count)) {
    outcome.top.push_back({candidate.token, static_cast<double>(candidate.value) - log_sum});
  }
}

SampleOutcome faulty(const char* code, const char* message) {
  SampleOutcome outcome;
  outcome.fault_code = code;
  outcome.fault_message = message;
  return outcome;
}

}  // namespace

void check_params(const SampleRequest& request, size_t index, int64_t vocab) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  const SamplingParams& params = request.params;
  check_number("temperature", index, params.temperature, 0, kLargest);
  check_number("topK", index, static_cast<double>(params.top_k), 0, 2147483647.0);
  check_number("topP", index, params.top_p, 0, 1);
  check_number("minP", index, params.min_p, 0, 1);
  check_number("repetitionPenalty", index, params.repetition_penalty, 1e-6, 1e6);
  check_number("presencePenalty", index, params.presence_penalty, -1e6, 1e6);
  check_number("frequencyPenalty", index, params.frequency_penalty, -1e6, 1e6);
  if (request.bias_ids.count != request.bias_values.count) {
    invalid_argument(format("rows[%zu].bias has %lld ids and %lld values", index, static_cast<long long>(request.bias_ids.count),
                            static_cast<long long>(request.bias_values.count)));
  }
  if (request.allowed.data != nullptr && request.allowed.count * 32 < vocab) {
    invalid_argument(format("rows[%zu].allowed has %lld words; the vocabulary needs %lld", index, static_cast<long long>(request.allowed.count),
                            static_cast<long long>((vocab + 31) / 32)));
  }
  if (request.top_logprobs > vocab) {
    invalid_argument(format("rows[%zu].topLogprobs is %lld; the vocabulary has %lld tokens", index, static_cast<long long>(request.top_logprobs),
                            static_cast<long long>(vocab)));
  }
}

void check_tokens(const SampleRequest& request, int64_t vocab) {
  const auto check = [&](const char* field, Span<int32_t> ids) {
    for (int64_t i = 0; i < ids.count; ++i) {
      if (ids.data[i] < 0 || ids.data[i] >= vocab) {
        invalid_argument(format("%s[%lld] is %d; the vocabulary has %lld tokens", field, static_cast<long long>(i), ids.data[i],
                                static_cast<long long>(vocab)));
      }
    }
  };
  check("promptTokens", request.prompt_tokens);
  check("outputTokens", request.output_tokens);
  check("bias.ids", request.bias_ids);
  for (int64_t i = 0; i < request.bias_values.count; ++i) {
    if (std::isnan(request.bias_values.data[i])) invalid_argument(format("bias.values[%lld] is not a number", static_cast<long long>(i)));
  }
}

SampleOutcome sample_row(const KernelTable& kernels, float* logits, int64_t vocab, const SampleRequest& request) {
  if (!all_finite(logits, vocab)) return faulty("INTERNAL", "the model's logits are not finite");
  SampleOutcome outcome;
  double log_sum = 0;
  outcome.has_logprob = request.top_logprobs >= 0;
  std::vector<float> raw;
  if (outcome.has_logprob) {
    report_logprobs(kernels, logits, vocab, request.top_logprobs, outcome, log_sum);
    raw.assign(logits, logits + vocab);
  }
  apply_bias(logits, vocab, request);
  apply_penalties(logits, vocab, request);
  apply_mask(logits, vocab, request.allowed);
  const int32_t best = argmax(logits, vocab);
  if (logits[best] == kImpossible) return faulty("FAILED_PRECONDITION", "no token is allowed");
  if (!std::isfinite(logits[best])) return faulty("INVALID_ARGUMENT", "bias or penalties make the logits infinite");
  outcome.token = static_cast<float>(request.params.temperature) == 0.0f ? best : draw_token(kernels, logits, vocab, logits[best], request);
  if (outcome.has_logprob) outcome.logprob = static_cast<double>(raw[static_cast<size_t>(outcome.token)]) - log_sum;
  return outcome;
}

}  // namespace moiety
