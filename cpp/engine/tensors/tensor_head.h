// The output layer on plain tensors: hidden states of the rows that predict a scored token -> log-probabilities.
#pragma once

#include <cstdint>
#include <span>

#include "engine/job.h"
#include "engine/model/weights.h"
#include "engine/tensors/tensors.h"

namespace syco {

// Adds the log-probabilities of `targets` (by row) to `result`. `hidden` (rows, hidden) holds the states, before the
// final norm, of the plan's rows from `first_row` on. Logits are float32, whatever the weights are, and exist only for
// some rows and some of the vocabulary at a time.
void add_log_probs(const Spec& spec, const Weights& weights, const at::Tensor& hidden, std::int64_t first_row,
                   std::span<const Target> targets, ScoreResult& result);

}  // namespace syco
