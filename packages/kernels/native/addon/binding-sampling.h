// Sampling requests from JavaScript, and their outcomes back.
#pragma once
#include <napi.h>

#include <functional>

#include "host.h"
#include "sampling.h"
#include "values.h"

namespace moiety {

// Is given each object whose memory the request points into: arrays are referenced, not copied, for a prompt may be long.
using Keep = std::function<void(Napi::Object)>;

// A SampleRow of src/types.ts for a batch of `rows` rows. Throws Fault INVALID_ARGUMENT naming the field.
SampleRequest read_request(const Field& field, int64_t rows, const Keep& keep);

// A row index within the batch.
int32_t read_row(const Field& field, int64_t row, int64_t rows);

Napi::Object make_sample(Napi::Env env, const SampleOutcome& outcome);
// An error of the caller's class for a faulty outcome.
Napi::Value make_sample(Napi::Env env, const Host& host, const SampleOutcome& outcome);

}  // namespace moiety
