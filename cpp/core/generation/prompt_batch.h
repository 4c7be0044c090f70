// Rows of prompts -> columns, in parallel. The table does not depend on the number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/generation/prompts.h"
#include "core/tables/arrow_batch.h"

namespace syco {

// The columns of a prompts table: id, claim_id, source, template, arm, order, prompt, choices, target, user_choice,
// is_true, claim_offset, turns.
Fields prompt_fields();

// A range of rows, and the number of threads to make them with (0: one a core).
struct RowRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// Writes rows into `batch`, whose memory is recycled. `rows` is working memory.
void fill_batch(const PromptRows& prompts, RowRange range, std::vector<PromptRow>& rows, Batch& batch);

// The rows as a table of batches.
BatchTable make_prompt_table(const PromptRows& prompts, RowRange range, int num_threads);

// The same batches one after the other; a few are held at a time. The prompts are shared with the source.
BatchSource stream_prompts(std::shared_ptr<const PromptRows> prompts, RowRange range, int num_threads);

// What making all rows comes to, keeping none of them.
struct PromptTally {
  std::int64_t num_rows = 0;
  std::int64_t num_bytes = 0;  // of prompt text
  std::uint64_t digest = 0;    // of all prompts and where they stand

  bool operator==(const PromptTally&) const = default;
};

PromptTally tally_prompts(const PromptRows& prompts, RowRange range, int num_threads);

}  // namespace syco
