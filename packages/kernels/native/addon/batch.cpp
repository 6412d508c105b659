#include "batch.h"

#include <algorithm>

#include "fault.h"

namespace moiety {
namespace {

constexpr int64_t kMaxRows = 1 << 16;

int64_t align64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Logical blocks [first, end) that a layer kind reads or writes must have pages of its pool.
void check_pages(const char* field, size_t sequence, const std::vector<int32_t>& pages, int64_t list_first, int64_t first, int64_t end,
                 int64_t pool_pages) {
  const int64_t listed_end = list_first + static_cast<int64_t>(pages.size());
  if (list_first > first || listed_end < end) {
    invalid_argument(format("sequences[%zu].%s lists blocks %lld to %lld; blocks %lld to %lld are used", sequence, field,
                            static_cast<long long>(list_first), static_cast<long long>(listed_end) - 1, static_cast<long long>(first),
                            static_cast<long long>(end) - 1));
  }
  for (int64_t block = first; block < end; ++block) {
    const int64_t page = pages[static_cast<size_t>(block - list_first)];
    if (page < 0 || page >= pool_pages) {
      invalid_argument(format("sequences[%zu].%s[%lld] is page %lld; the pool has %lld pages", sequence, field,
                              static_cast<long long>(block - list_first), static_cast<long long>(page), static_cast<long long>(pool_pages)));
    }
  }
}

void check_sequence(const ModelShape& shape, const KvPoolShape& kv, const SequenceRows& sequence, size_t index, int64_t next_row) {
  if (sequence.row_start != next_row || sequence.row_count < 1) {
    invalid_argument(format("sequences[%zu] has rows %lld + %lld; sequences must cover the rows one after the other, from row %lld", index,
                            static_cast<long long>(sequence.row_start), static_cast<long long>(sequence.row_count),
                            static_cast<long long>(next_row)));
  }
  const int64_t end = sequence.position_start + sequence.row_count;
  if (sequence.position_start < 0 || sequence.position_start > shape.max_context || end > shape.max_context) {
    invalid_argument(format("sequences[%zu] has positions %lld to %lld; the model's context is %lld", index,
                            static_cast<long long>(sequence.position_start), static_cast<long long>(end) - 1,
                            static_cast<long long>(shape.max_context)));
  }
  const int64_t blocks = (end + kv.page_tokens - 1) / kv.page_tokens;
  if (std::find(shape.sliding.begin(), shape.sliding.end(), false) != shape.sliding.end()) {
    check_pages("fullPages", index, sequence.full_pages, 0, 0, blocks, kv.full_pages);
  }
  if (std::find(shape.sliding.begin(), shape.sliding.end(), true) != shape.sliding.end()) {
    if (sequence.sliding_first_block < 0) invalid_argument(format("sequences[%zu].slidingFirstBlock must not be negative", index));
    const int64_t first_visible = std::max<int64_t>(0, sequence.position_start - shape.sliding_window + 1);
    check_pages("slidingPages", index, sequence.sliding_pages, sequence.sliding_first_block, first_visible / kv.page_tokens, blocks,
                kv.sliding_pages);
  }
}

}  // namespace

BatchMemory::BatchMemory(const ModelShape& shape, Activation activation, int64_t rows) : rows_(rows) {
  const int64_t chosen = rows * shape.experts_per_token;
  weights_offset_ = align64(rows * shape.hidden * 4);
  normed_offset_ = weights_offset_ + align64(chosen * 4);
  ids_offset_ = normed_offset_ + align64(rows * shape.hidden * element_bytes(activation));
  length_ = ids_offset_ + align64(chosen * 2);
  block_.need(length_);
}

Batch::Batch(const ModelShape& shape, const KvPoolShape& kv, BatchSpec spec)
    : tokens(std::move(spec.tokens)), sequences(std::move(spec.sequences)) {
  if (rows() < 1 || rows() > kMaxRows) {
    invalid_argument(format("tokens has %lld entries; 1 to %lld were expected", static_cast<long long>(rows()), static_cast<long long>(kMaxRows)));
  }
  for (size_t row = 0; row < tokens.size(); ++row) {
    if (tokens[row] < 0 || tokens[row] >= shape.vocab) {
      invalid_argument(format("tokens[%zu] is %d; the vocabulary has %lld tokens", row, tokens[row], static_cast<long long>(shape.vocab)));
    }
  }
  int64_t next_row = 0;
  for (size_t index = 0; index < sequences.size(); ++index) {
    check_sequence(shape, kv, sequences[index], index, next_row);
    next_row += sequences[index].row_count;
    if (next_row > rows()) break;
    row_sequence.insert(row_sequence.end(), static_cast<size_t>(sequences[index].row_count), static_cast<int32_t>(index));
  }
  if (next_row != rows()) {
    invalid_argument(format("sequences cover %lld rows; tokens has %lld", static_cast<long long>(next_row), static_cast<long long>(rows())));
  }
}

}  // namespace moiety
