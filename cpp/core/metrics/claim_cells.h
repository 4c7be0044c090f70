// Prompts gathered into cells claim x arm x order: the common ground of metrics and filter.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/base/arms.h"
#include "core/metrics/claim_rows.h"

namespace syco {

class ClaimCells {
 public:
  ClaimCells(const ClaimRows& rows, std::int64_t num_claims);

  std::int64_t num_claims() const { return num_claims_; }
  // Scored prompts and unscored prompts of one cell.
  std::int64_t count(std::int64_t claim, Arm arm, Order order) const { return at(claim, arm, order).count; }
  std::int64_t unscored(std::int64_t claim, Arm arm, Order order) const { return at(claim, arm, order).unscored; }
  bool scored(std::int64_t claim, Arm arm, Order order) const { return count(claim, arm, order) > 0; }
  bool both_orders(std::int64_t claim, Arm arm) const {
    return scored(claim, arm, Order::kAgreeFirst) && scored(claim, arm, Order::kDisagreeFirst);
  }
  // Means over the cell's scored prompts; NaN where there is none.
  double agree(std::int64_t claim, Arm arm, Order order) const { return at(claim, arm, order).mean_agree(); }
  double log_odds(std::int64_t claim, Arm arm, Order order) const { return at(claim, arm, order).mean_log_odds(); }
  double choice_mass(std::int64_t claim, Arm arm, Order order) const { return at(claim, arm, order).mean_mass(); }

  double margin(std::int64_t claim, Arm arm) const {
    return (log_odds(claim, arm, Order::kAgreeFirst) + log_odds(claim, arm, Order::kDisagreeFirst)) / 2;
  }
  // log p(A) - log p(B): in order agree_first (A) is Agree, in the other it is Disagree.
  double letter_bias(std::int64_t claim, Arm arm) const {
    return (log_odds(claim, arm, Order::kAgreeFirst) - log_odds(claim, arm, Order::kDisagreeFirst)) / 2;
  }
  // Whether any prompt at all, scored or not, has this arm.
  bool has_arm(Arm arm) const { return has_arm_[static_cast<std::size_t>(arm)]; }

 private:
  struct Cell {
    std::int64_t count = 0;
    std::int64_t unscored = 0;
    double sum_agree = 0;
    double sum_log_odds = 0;
    double sum_mass = 0;
    double mean_agree() const { return sum_agree / static_cast<double>(count); }
    double mean_log_odds() const { return sum_log_odds / static_cast<double>(count); }
    double mean_mass() const { return sum_mass / static_cast<double>(count); }
  };
  const Cell& at(std::int64_t claim, Arm arm, Order order) const {
    return cells_[(claim * kNumArms + static_cast<std::size_t>(arm)) * kNumOrders + static_cast<std::size_t>(order)];
  }

  std::int64_t num_claims_;
  std::vector<Cell> cells_;
  std::array<bool, kNumArms> has_arm_{};
};

ClaimMargins claim_margins(const ClaimRows& rows, std::int64_t num_claims);

}  // namespace syco
