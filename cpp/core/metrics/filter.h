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
  kMargin,    // both orders: the sign of the margin is right and |margin| >= threshold; the letter preference cancels
  kContrast,  // the same of the margin less its example's lean, the middle between the mean margins of the example's
              // true and of its false claims: a lean to agree cancels
  kWei2023,   // as published: one prompt a claim, in one order; the likelier choice is the right one
};

struct FilterOptions {
  FilterRule rule = FilterRule::kMargin;
  double threshold = 0.0;     // least |margin|, nats; >= 0; not for kWei2023
  bool orders_agree = false;  // not for kWei2023: the answer must also be right in each order by itself
  bool operator==(const FilterOptions&) const = default;
};

// What became of a claim. kUnscored failed; everything but kKept and kUnscored was filtered.
enum class Verdict : std::int8_t { kKept, kWrong, kTie, kBelowThreshold, kOrdersDisagree, kNoCounterpart, kUnscored };

// The reason in words: "", "wrong", "tie", "below threshold", "orders disagree", "no counterpart" (kContrast: of a
// claim whose example has no scored claim of the other truth), "unscored".
const char* reason_of(Verdict verdict);

struct FilterTable {
  std::vector<double> margin;       // nats towards Agree; NaN where unscored. kWei2023: the log-odds of the one
                                    // prompt; kContrast: less the lean, NaN without one
  std::vector<double> letter_bias;  // log p(A) - log p(B) over both orders; NaN for kWei2023
  std::vector<Verdict> verdict;
};

// One verdict a claim, from its opinion-free prompts (arm none; several templates are averaged). A claim without a
// prompt is unscored. facts.cluster is any code of the claim's example. Throws DataError if a claim has
// no truth, a prompt has another arm, the threshold is negative, or, for kWei2023, a claim has more than
// one prompt.
FilterTable judge_claims(const ClaimRows& rows, const ClaimFacts& facts, const FilterOptions& options);

// One point of the risk-coverage curve: the claims with confidence >= threshold.
struct RiskPoint {
  double threshold = 0;
  double coverage = 0;     // share of all claims
  double error = 0;        // mean over their examples of the share wrong; NaN where none is covered
  double upper_bound = 1;  // one-sided Clopper-Pearson bound on that mean, as if each example had one claim
  std::int64_t n = 0;
  std::int64_t num_examples = 0;
  bool operator==(const RiskPoint&) const = default;
};

// The curve at `thresholds`, in their order. `confidence` is |margin| (non-finite = not covered), `is_wrong` 1 or 0 by
// a measurement of its own (other templates, gold labels of claims that the filter may answer either way). Claims of
// one example stand and fall together: the bound counts examples, `example` is any code of one.
std::vector<RiskPoint> risk_coverage(std::span<const double> confidence, std::span<const std::int8_t> is_wrong,
                                     std::span<const std::int64_t> example, std::span<const double> thresholds,
                                     double bound_confidence = 0.95);

// The laxest threshold whose error is at most `max_error` with probability 1 - delta, by fixed-sequence testing:
// thresholds are tested from strict to lax, each at level delta, until the first fails, which needs no correction for
// their number (Angelopoulos et al. 2021, "Learn then test"; Bauer 1991). Thresholds that cover too few examples to
// pass even without an error are skipped. `threshold` is NaN, with the reason, where none passes.
struct ThresholdChoice {
  RiskPoint point;
  std::string reason;
};
ThresholdChoice choose_threshold(std::span<const double> confidence, std::span<const std::int8_t> is_wrong,
                                 std::span<const std::int64_t> example, std::span<const double> thresholds,
                                 double max_error, double delta = 0.05);

}  // namespace syco
