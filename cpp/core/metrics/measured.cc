#include "core/metrics/measured.h"

#include <cmath>

#include "core/base/errors.h"
#include "core/stats/intervals.h"

namespace syco {
namespace {

using stats::Estimate;

constexpr std::int64_t kFewestUnits = 5;

void add_counts_and_reasons(Estimate& estimate, const Measured& measured) {
  estimate.n = measured.n;
  estimate.num_unscored = measured.num_unscored;
  const bool is_constant = std::isnan(estimate.low) && !std::isnan(estimate.value) && estimate.num_clusters > 1;
  if (is_constant && measured.why_constant) estimate.reason = measured.why_constant;
  if (std::isnan(estimate.value) && measured.why_missing) estimate.reason = measured.why_missing;
}

Estimate difference_of_terms(const Measured& measured, std::span<const std::int64_t> cluster, double confidence) {
  const Estimate first = estimate_of(measured.terms[0], cluster, confidence);
  const Estimate second = estimate_of(measured.terms[1], cluster, confidence);
  Estimate estimate = stats::mover(first, second);
  if (!std::isnan(estimate.value) && estimate.num_clusters < kFewestUnits) {
    estimate.low = estimate.high = stats::kNan;
    estimate.reason = "only " + std::to_string(estimate.num_clusters) +
                      " claims meet the rarer of its two conditions; an interval needs " + std::to_string(kFewestUnits);
  }
  return estimate;
}

}  // namespace

Estimate estimate_of(const Measured& measured, std::span<const std::int64_t> cluster, double confidence) {
  Estimate estimate = measured.terms.empty() ? stats::cluster_t(measured.statistic, cluster, confidence, measured.range)
                                             : difference_of_terms(measured, cluster, confidence);
  add_counts_and_reasons(estimate, measured);
  if (measured.range == stats::kRate && measured.statistic.num_units > 0) stats::bound_rate(estimate);
  return estimate;
}

MetricChange change_of(const Measured& before, const Measured& after, std::span<const std::int64_t> cluster,
                       double confidence) {
  MetricChange change{
      before.metric, estimate_of(before, cluster, confidence), estimate_of(after, cluster, confidence), {}};
  change.change = before.terms.empty() ? stats::paired_change(after.statistic, before.statistic, cluster, confidence,
                                                              before.range, std::max(before.n, after.n))
                                       : stats::mover(change.after, change.before);
  add_counts_and_reasons(change.change, before);
  return change;
}

std::vector<MetricEstimate> estimates_of(std::span<const Measured> measured, std::span<const std::int64_t> cluster,
                                         double confidence) {
  std::vector<MetricEstimate> estimates;
  for (const Measured& one : measured) estimates.push_back({one.metric, estimate_of(one, cluster, confidence)});
  return estimates;
}

std::vector<MetricChange> changes_of(std::span<const Measured> before, std::span<const Measured> after,
                                     std::span<const std::int64_t> cluster, double confidence) {
  require(before.size() == after.size(), "metrics: before and after hold different metrics");
  std::vector<MetricChange> changes;
  changes.reserve(before.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    changes.push_back(change_of(before[i], after[i], cluster, confidence));
  }
  return changes;
}

}  // namespace syco
