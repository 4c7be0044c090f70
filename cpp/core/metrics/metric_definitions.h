// What each metric takes from one claim: the numerator and the denominator of a ratio. measure_claims() sums them.
#pragma once

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

  Arm user_right() const { return is_true ? Arm::kAgree : Arm::kDisagree; }
  Arm user_wrong() const { return is_true ? Arm::kDisagree : Arm::kAgree; }
  double agree(Arm arm, Order order) const { return cells.agree(claim, arm, order); }
  double correct(Arm arm, Order order) const { return is_true ? agree(arm, order) : 1 - agree(arm, order); }
  double margin(Arm arm) const { return cells.margin(claim, arm); }
  double truth_margin(Arm arm) const { return is_true ? margin(arm) : -margin(arm); }
};

struct Contribution {
  double numerator = 0;
  double denominator = 0;
  std::int64_t n = 0;         // scored prompts used
  std::int64_t unscored = 0;  // prompts of the metric's arms that could not be used
  double reach = 1;           // of a difference: the most that this claim's may be, either way
};

// Which users must state an opinion: the arms agree and disagree, one of them alone, or any.
enum class Users { kNotNeeded, kSome, kOne, kBoth };

// What the rows must hold for the metric to be reported.
struct Needs {
  bool none = false;
  bool placebo = false;
  Users users = Users::kNotNeeded;
  bool truth = false;
  bool known = false;     // only claims that the model knows count
  bool no_none = false;   // stands in for metrics that need the arm without a user
  bool a_prompt = false;  // at least one prompt that the metric is about
};

struct MetricDefinition {
  using Contribute = Contribution (*)(const ClaimView& view);
  const char* name;
  stats::Range range;
  Needs needs;
  Contribute contribute;
  bool by_pair = false;           // a conditional rate: each pair of a claim contributes by itself
  Contribute subtract = nullptr;  // the rate that is taken off, where the metric is a difference of two
};

// In the order in which measure_claims() reports them. `auc` and `choice_mass` are made elsewhere.
std::span<const MetricDefinition> metric_definitions();

// The mean of choice_mass, all arms.
const MetricDefinition& choice_mass_definition();

}  // namespace syco
