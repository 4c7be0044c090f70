// The output layer: hidden states of the rows that predict a scored token -> log-probabilities of those tokens, and
// whether each was the likeliest.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/panels/layers.h"

namespace syco {

// Collects hidden states and runs the head over a few panels of them at a time: logits exist only tile by tile.
class Head {
 public:
  // `log_probs` and `is_greedy` hold a number a sequence, 0 and 1 at first: log-probabilities are added to the one, and
  // the other becomes 0 where some token is likelier than a scored one.
  Head(const Team& team, const Spec& spec, const Weights& weights, MatmulPrecision precision,
       std::vector<double>& log_probs, std::vector<std::uint8_t>& is_greedy);

  // Takes the rows that `targets` (by row) score; copy_hidden(row, column) copies a row's hidden state, before the
  // final norm, into one column of a panel. Runs the head whenever it is full.
  void take(std::span<const Target> targets, const std::function<void(std::int64_t, float*)>& copy_hidden);
  // Runs the head over what is left.
  void flush();

 private:
  struct Wanted {
    std::int32_t token;
    std::int32_t column;
    std::int32_t sequence;
    float logit;
  };
  void run_blocks(std::int64_t split);
  void pick(const float* tile, std::int64_t first_token, std::int64_t rows, std::int64_t panel);

  const Team& team_;
  const Spec& spec_;
  const Weights& weights_;
  MatmulPrecision precision_;
  std::vector<double>& log_probs_;
  std::vector<std::uint8_t>& is_greedy_;
  std::vector<Wanted> wanted_;
  std::int64_t num_columns_ = 0;
  Workspace hidden_;   // (panels, hidden, 64)
  Workspace packed_;   // (panels, packed)
  Workspace partial_;  // (splits, panels, 2, 64): running maximum and sum of each part of the vocabulary
  Workspace scratch_;  // (threads, floats)
};

}  // namespace syco
