// A job for a model: token sequences laid out for it, and what scoring them gives.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan/trie.h"
#include "engine/model/spec.h"

namespace syco {

struct ScoreResult {
  std::vector<double> log_probs;        // of each sequence's scored tokens, summed, in nats
  std::vector<std::uint8_t> is_greedy;  // 1 where no token is likelier than any of the sequence's scored tokens
  std::int64_t num_tokens = 0;          // that were run
};

// Throws DataError if a token is not in the vocabulary.
void check_tokens(const Sequences& sequences, const Spec& spec);
// Lays out a job for a decoder. Throws DataError as make_plan and check_tokens do, or if a sequence exceeds the
// context.
Plan plan_job(const Sequences& sequences, const Spec& spec);
// What the log-probabilities of a job are added to.
ScoreResult empty_result(const Sequences& sequences, std::int64_t num_tokens);

}  // namespace syco
