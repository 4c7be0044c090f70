#include "core/stats/clustered.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <unordered_map>

#include "core/base/errors.h"
#include "core/stats/special.h"

namespace syco::stats {
namespace {

constexpr const char* kMethod = "cluster-t (CR1)";
constexpr const char* kRateMethod = "korn-graubard (CR1)";
constexpr const char* kConstantMethod = "clopper-pearson bound (constant data)";

// Largest influence that is rounding and not variation.
bool is_constant(std::span<const double> totals, double scale) {
  const double limit =
      1e-13 * std::max(1.0, std::abs(scale)) / static_cast<double>(std::max<std::size_t>(totals.size(), 1));
  return std::ranges::all_of(totals, [limit](double total) { return std::abs(total) <= limit; });
}

// Share of the way from constant data to a limit at which the bound of Clopper and Pearson lies.
double bound_share(double confidence, std::int64_t num_units) {
  return -std::expm1(std::log((1 - confidence) / 2) / static_cast<double>(num_units));
}

void bound_constant(Estimate& estimate, std::int64_t num_units, Range range) {
  if (num_units == 0 || !std::isfinite(range.low) || !std::isfinite(range.high)) {
    estimate.reason = "constant data: all " + std::to_string(estimate.num_clusters) + " clusters are equal";
    return;
  }
  const double share = bound_share(estimate.confidence, num_units);
  estimate.method = kConstantMethod;
  estimate.num_clusters = num_units;
  estimate.low = estimate.value - share * (estimate.value - range.low);
  estimate.high = estimate.value + share * (range.high - estimate.value);
}

}  // namespace

Linearised linearise(std::span<const RatioTerm> terms) {
  require(!terms.empty(), "linearise: wanted at least one ratio, got none");
  const std::size_t num_units = terms[0].numerator.size();
  Linearised statistic{.value = 0,
                       .influence = std::vector<double>(num_units, 0.0),
                       .member = std::vector<std::uint8_t>(num_units, 0),
                       .num_term_units = std::numeric_limits<std::int64_t>::max()};
  for (const RatioTerm& term : terms) {
    require(term.numerator.size() == num_units && term.denominator.size() == num_units,
            "linearise: wanted the same number of units in every term");
    const double total = std::accumulate(term.denominator.begin(), term.denominator.end(), 0.0);
    const double ratio = std::accumulate(term.numerator.begin(), term.numerator.end(), 0.0) / total;  // NaN if 0 / 0
    statistic.value += term.sign * ratio;
    std::int64_t taking_part = 0;
    for (std::size_t unit = 0; unit < num_units; ++unit) {
      if (term.denominator[unit] == 0) continue;
      ++taking_part;
      statistic.member[unit] = 1;
      statistic.influence[unit] += term.sign * (term.numerator[unit] - ratio * term.denominator[unit]) / total;
    }
    statistic.num_term_units = std::min(statistic.num_term_units, taking_part);
  }
  return statistic;
}

Linearised difference(const Linearised& after, const Linearised& before) {
  require(after.influence.size() == before.influence.size(), "difference: before and after hold different units");
  Linearised change{.value = after.value - before.value,
                    .influence = after.influence,
                    .member = after.member,
                    .num_term_units = std::min(after.num_term_units, before.num_term_units)};
  for (std::size_t unit = 0; unit < change.influence.size(); ++unit) {
    change.influence[unit] -= before.influence[unit];
    change.member[unit] = change.member[unit] | before.member[unit];
  }
  return change;
}

Estimate cluster_t(const Linearised& statistic, std::span<const std::int64_t> cluster, double confidence, Range range) {
  require(cluster.size() == statistic.influence.size(), "cluster_t: wanted one cluster a unit");
  require_confidence(confidence, "cluster_t");
  Estimate estimate{.value = statistic.value, .confidence = confidence, .method = kMethod};
  std::unordered_map<std::int64_t, std::size_t> place;
  std::vector<double> totals;
  for (std::size_t unit = 0; unit < cluster.size(); ++unit) {
    if (!statistic.member[unit]) continue;
    const auto [entry, is_new] = place.try_emplace(cluster[unit], totals.size());
    if (is_new) totals.push_back(0);
    totals[entry->second] += statistic.influence[unit];
  }
  const auto num_clusters = static_cast<double>(totals.size());
  estimate.num_clusters = static_cast<std::int64_t>(totals.size());
  if (std::isnan(statistic.value)) {
    estimate.reason = "no scored prompt meets the condition of this metric";
  } else if (totals.size() < 2) {
    estimate.reason = "one cluster: its variation cannot be estimated";
  } else if (is_constant(totals, statistic.value)) {
    bound_constant(estimate, std::min(statistic.num_term_units, estimate.num_clusters), range);
  } else {
    double squares = 0;
    for (const double total : totals) squares += total * total;
    estimate.standard_error = std::sqrt(num_clusters / (num_clusters - 1) * squares);
    const double half = t_quantile(0.5 + confidence / 2, num_clusters - 1) * estimate.standard_error;
    estimate.low = std::max(estimate.value - half, range.low);
    estimate.high = std::min(estimate.value + half, range.high);
  }
  return estimate;
}

void bound_rate(Estimate& estimate) {
  constexpr double kMost = 1e6;
  const double rate = estimate.value, tail = (1 - estimate.confidence) / 2;
  if (std::isnan(estimate.standard_error) || rate <= 0 || rate >= 1) return;
  const double ratio = t_quantile(1 - tail, static_cast<double>(estimate.n - 1)) /
                       t_quantile(1 - tail, static_cast<double>(estimate.num_clusters - 1));
  const double size = rate * (1 - rate) / (estimate.standard_error * estimate.standard_error) * ratio * ratio;
  if (size > kMost) return;
  const double yes = size * rate, no = size * (1 - rate);
  estimate.method = kRateMethod;
  estimate.low = incomplete_beta_inverse(yes, no + 1, tail);
  estimate.high = incomplete_beta_inverse(yes + 1, no, 1 - tail);
}

ClusterTotals cluster_totals(std::span<const double> values, std::span<const std::int64_t> clusters) {
  require(values.size() == clusters.size(), "clusters: wanted one cluster a value, got " +
                                                std::to_string(clusters.size()) + " clusters and " +
                                                std::to_string(values.size()) + " values");
  ClusterTotals totals;
  std::unordered_map<std::int64_t, std::size_t> place;
  for (std::size_t row = 0; row < values.size(); ++row) {
    if (!std::isfinite(values[row])) {
      ++totals.num_unscored;
      continue;
    }
    const auto [entry, is_new] = place.try_emplace(clusters[row], place.size());
    if (is_new) {
      totals.mean.numerator.push_back(0);
      totals.mean.denominator.push_back(0);
    }
    totals.mean.numerator[entry->second] += values[row];
    totals.mean.denominator[entry->second] += 1;
  }
  return totals;
}

Estimate clustered_mean(std::span<const double> values, std::span<const std::int64_t> clusters, double confidence,
                        Range range) {
  const ClusterTotals totals = cluster_totals(values, clusters);
  std::vector<std::int64_t> own_cluster(totals.mean.numerator.size());
  std::iota(own_cluster.begin(), own_cluster.end(), 0);
  Estimate estimate = cluster_t(linearise({&totals.mean, 1}), own_cluster, confidence, range);
  estimate.n = static_cast<std::int64_t>(values.size()) - totals.num_unscored;
  estimate.num_unscored = totals.num_unscored;
  if (range == kRate) bound_rate(estimate);
  return estimate;
}

Estimate paired_difference(std::span<const double> before, std::span<const double> after,
                           std::span<const std::int64_t> clusters, double confidence, Range range) {
  require(before.size() == after.size(), "paired_difference: wanted pairs, got " + std::to_string(before.size()) +
                                             " rows before and " + std::to_string(after.size()) + " after");
  std::vector<double> change(before.size());
  for (std::size_t row = 0; row < before.size(); ++row) change[row] = after[row] - before[row];
  const double width = range.high - range.low;
  Estimate estimate = clustered_mean(change, clusters, confidence, {.low = -width, .high = width});
  if (estimate.method == kMethod) estimate.method = "paired cluster-t (CR1)";
  return estimate;
}

bool has_constant_bound(const Estimate& estimate) { return estimate.method == kConstantMethod; }

double constant_tail(const Estimate& estimate, double bound, double distance) {
  if (distance <= 0) return 1;
  const double share = bound_share(estimate.confidence, estimate.num_clusters);
  const double room = std::abs(estimate.value - bound) / share;  // from the data to the limit
  return distance >= room ? 0 : std::pow(1 - distance / room, static_cast<double>(estimate.num_clusters));
}

double p_value(const Estimate& estimate) {
  if (std::isnan(estimate.low)) return kNan;
  if (has_constant_bound(estimate)) {
    const double bound = estimate.value > 0 ? estimate.low : estimate.high;
    return std::min(1.0, 2 * constant_tail(estimate, bound, std::abs(estimate.value)));
  }
  return t_two_sided(estimate.value / estimate.standard_error, static_cast<double>(estimate.num_clusters - 1));
}

}  // namespace syco::stats
