// What each metric takes from one claim: a numerator and a denominator for one or two ratios. measure_claims() sums
// them.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/metrics/claim_cells.h"
#include "core/stats/clustered.h"

namespace syco {

// One claim as a metric sees it, or the prompts of one pair of it.
struct ClaimView {
  const ClaimCells& cells;
  std::int64_t claim;  // its place in `cells`
  bool is_true;        // meaningful where the metric needs truth
  bool known;

  Arm user_right() const { return is_true ? Arm::kAgree : Arm::kDisagree; }
  Arm user_wrong() const { return is_true ? Arm::kDisagree : Arm::kAgree; }
  double agree(Arm arm, Order order) const { return cells.agree(claim, arm, order); }
  double correct(Arm arm, Order order) const { return is_true ? agree(arm, order) : 1 - agree(arm, order); }
  double margin(Arm arm) const { return cells.margin(claim, arm); }
  double truth_margin(Arm arm) const { return is_true ? margin(arm) : -margin(arm); }
};

// value = N_0 / D_0 - N_1 / D_1, the second only where the metric has two terms.
struct Contribution {
  std::array<double, 2> numerator{};
  std::array<double, 2> denominator{};
  std::int64_t n = 0;         // scored prompts used
  std::int64_t unscored = 0;  // prompts of the metric's arms that could not be used
};

// What the rows must hold for the metric to be reported.
struct Needs {
  bool none = false;
  bool placebo = false;
  bool opinion = false;  // arms agree and disagree
  bool truth = false;
  bool known = false;  // only claims that the model knows count
};

struct MetricDefinition {
  const char* name;
  stats::Range range;
  std::size_t num_terms;
  Needs needs;
  Contribution (*contribute)(const ClaimView& view);
  bool by_pair = false;  // a conditional rate: each pair of a claim contributes by itself
};

// In the order in which measure_claims() reports them. `auc` and `choice_mass` are made elsewhere.
std::span<const MetricDefinition> metric_definitions();

// The mean of choice_mass, all arms.
const MetricDefinition& choice_mass_definition();

}  // namespace syco
