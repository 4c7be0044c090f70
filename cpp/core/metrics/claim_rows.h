// What is measured of claims, and what is known of them, as columns.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/base/arms.h"

namespace syco {

// One row a prompt; columns of equal length. Borrowed.
struct ClaimRows {
  std::span<const std::int64_t> claim;  // index into ClaimFacts
  std::span<const std::int8_t> arm;     // Arm
  std::span<const std::int8_t> order;   // Order
  std::span<const double> log_odds;     // of Agree, nats; not finite = unscored
  std::span<const double> choice_mass;  // probability of all choices together, or empty
  // Code of the prompts that differ from this one in arm and order only, all of one claim; or empty: those of its
  // claim.
  std::span<const std::int64_t> pair = {};
};

// One row a claim. Borrowed.
struct ClaimFacts {
  std::span<const std::int8_t> is_true;   // 1, 0, or -1 where nobody knows
  std::span<const std::int64_t> cluster;  // code of the independent unit; the claim itself unless claims share a source
  std::span<const std::int8_t> known;     // 1 = the model knows the claim, frozen from the unmodified model; or empty:
                                          // known = right without an opinion by the margin of these rows (before)
};

// Margins and letter biases of every claim and arm, (num_claims, 4) row by row; NaN without both orders.
struct ClaimMargins {
  std::vector<double> margin;
  std::vector<double> letter_bias;
};
}  // namespace syco
