#include "engine/job.h"

#include <string>

#include "core/base/errors.h"

namespace syco {

void check_tokens(const Sequences& sequences, const Spec& spec) {
  for (const std::int32_t token : sequences.tokens) {
    require(token >= 0 && token < spec.vocab, "engine: token " + std::to_string(token) +
                                                  " is not in the model's vocabulary of " + std::to_string(spec.vocab));
  }
}

Plan plan_job(const Sequences& sequences, const Spec& spec) {
  check_tokens(sequences, spec);
  Plan plan = make_plan(sequences);
  require(plan.max_depth <= spec.context_length, "engine: a sequence of " + std::to_string(plan.max_depth) +
                                                     " tokens exceeds the model's context of " +
                                                     std::to_string(spec.context_length));
  return plan;
}

ScoreResult empty_result(const Sequences& sequences, std::int64_t num_tokens) {
  return {.log_probs = std::vector<double>(sequences.num_context.size(), 0.0),
          .is_greedy = std::vector<std::uint8_t>(sequences.num_context.size(), 1),
          .num_tokens = num_tokens};
}

}  // namespace syco
