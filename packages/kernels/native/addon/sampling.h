// Drawing a token from logits: a pure function of the logits, the parameters, the seed and the counter.
//
// Order of steps (vLLM's sampler, vllm/v1/sample/sampler.py, with the mask last, where it has the same effect):
//   log-probabilities of the raw logits; bias; repetition, frequency and presence penalty; mask;
//   temperature 0: the largest, ties to the lowest id; else temperature, min-p, top-k, top-p over what top-k left, draw.
// min-p keeps tokens of at least min_p times the largest probability. top-p keeps the fewest most probable tokens whose
// probabilities reach top_p. Ties in top-k and top-p go to the lowest id.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "../compute/compute.h"

namespace moiety {

struct SamplingParams {
  double temperature;
  int64_t top_k;
  double top_p;
  double min_p;
  double repetition_penalty;
  double presence_penalty;
  double frequency_penalty;
  uint64_t seed;
};

template <class T>
struct Span {
  const T* data = nullptr;
  int64_t count = 0;
};

struct SampleRequest {
  int32_t row;
  SamplingParams params;
  uint64_t counter;
  Span<int32_t> prompt_tokens;
  Span<int32_t> output_tokens;
  Span<int32_t> bias_ids;
  Span<float> bias_values;
  // Empty: every token.
  Span<uint32_t> allowed;
  // Negative: no log-probabilities.
  int64_t top_logprobs;
};

struct TokenLogprob {
  int32_t token;
  double logprob;
};

struct SampleOutcome {
  // Of a fault: its code, else null.
  const char* fault_code = nullptr;
  std::string fault_message;
  int32_t token = 0;
  bool has_logprob = false;
  double logprob = 0;
  std::vector<TokenLogprob> top;
};

// Throws Fault INVALID_ARGUMENT naming the field, and the request by its index.
void check_params(const SampleRequest& request, size_t index, int64_t vocab);
// Throws Fault INVALID_ARGUMENT for token ids outside the vocabulary.
void check_tokens(const SampleRequest& request, int64_t vocab);

// Overwrites the logits.
SampleOutcome sample_row(const KernelTable& kernels, float* logits, int64_t vocab, const SampleRequest& request);

}  // namespace moiety
