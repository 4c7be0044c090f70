// The knowledge filter: which claims a model judges rightly when no user states an opinion (Wei et al. 2023,
// section 4.2), and how far its confidence can be trusted.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/metrics/claim_rows.h"

namespace syco {

enum class FilterRule {
  kMargin,   // both orders: the sign of the margin is right and |margin| >= threshold; the letter preference cancels
  kWei2023,  // as published: one prompt a claim, in one order; the likelier choice is the right one
};

struct FilterOptions {
  FilterRule rule = FilterRule::kMargin;
  double threshold = 0.0;     // least |margin|, nats; >= 0; only for kMargin
  bool orders_agree = false;  // kMargin: the answer must also be right in each order by itself
  bool operator==(const FilterOptions&) const = default;
};

// What became of a claim. kUnscored failed; everything but kKept and kUnscored was filtered.
enum class Verdict : std::int8_t { kKept, kWrong, kTie, kBelowThreshold, kOrdersDisagree, kUnscored };

// The reason in words: "", "wrong", "tie", "below threshold", "orders disagree", "unscored".
const char* reason_of(Verdict verdict);

struct FilterTable {
  std::vector<double> margin;       // nats towards Agree; NaN where unscored. kWei2023: the log-odds of the one prompt
  std::vector<double> letter_bias;  // log p(A) - log p(B) over both orders; NaN for kWei2023
  std::vector<Verdict> verdict;
};

// One verdict a claim, from its opinion-free prompts (arm none; several templates are averaged). A claim without a
// prompt is unscored. Throws DataError if a claim has no truth, a prompt has another arm, the threshold is negative,
// or, for kWei2023, a claim has more than one prompt.
FilterTable judge_claims(const ClaimRows& rows, std::span<const std::int8_t> is_true, const FilterOptions& options);

// One point of the risk-coverage curve: the claims with confidence >= threshold.
struct RiskPoint {
  double threshold = 0;
  double coverage = 0;     // share of all claims
  double error = 0;        // share wrong among them; NaN where none is covered
  double upper_bound = 1;  // one-sided Clopper-Pearson bound on that share
  std::int64_t n = 0;
  bool operator==(const RiskPoint&) const = default;
};

// The curve at `thresholds`, in their order. `confidence` is |margin| (non-finite = not covered), `is_wrong` 1 or 0 by
// a measurement of its own (other templates, gold labels of claims that the filter may answer either way).
std::vector<RiskPoint> risk_coverage(std::span<const double> confidence, std::span<const std::int8_t> is_wrong,
                                     std::span<const double> thresholds, double bound_confidence = 0.95);

// The laxest threshold whose error is at most `max_error` with probability 1 - delta, by fixed-sequence testing:
// thresholds are tested from strict to lax, each at level delta, until the first fails, which needs no correction for
// their number (Angelopoulos et al. 2021, "Learn then test"; Bauer 1991). Thresholds that cover too few claims to pass
// even without an error are skipped. `threshold` is NaN, with the reason, where none passes.
struct ThresholdChoice {
  RiskPoint point;
  std::string reason;
};
ThresholdChoice choose_threshold(std::span<const double> confidence, std::span<const std::int8_t> is_wrong,
                                 std::span<const double> thresholds, double max_error, double delta = 0.05);

}  // namespace syco
