#include "core/stats/clustered.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/base/errors.h"
#include "core/stats/paired.h"
#include "core/stats/special.h"

namespace syco::stats {
namespace {

constexpr const char* kMethod = "cluster-t (CR1)";
constexpr const char* kPseudoMethod = "cluster-t, two pseudo-claims";
constexpr const char* kPaired = "paired ";
constexpr const char* kRateMethod = "korn-graubard (CR1)";
constexpr const char* kConstantMethod = "clopper-pearson bound (constant data)";
constexpr double kRounding = 1e-12;  // a change of a cluster below it is none

// Largest influence that is rounding and not variation.
bool is_constant(std::span<const double> totals, double scale) {
  const double limit =
      1e-13 * std::max(1.0, std::abs(scale)) / static_cast<double>(std::max<std::size_t>(totals.size(), 1));
  return std::ranges::all_of(totals, [limit](double total) { return std::abs(total) <= limit; });
}

// The bound of Clopper and Pearson: at most such a share of the way from constant data to a limit.
void bound_constant(Estimate& estimate, std::int64_t num_units, Range range) {
  if (num_units == 0 || !std::isfinite(range.low) || !std::isfinite(range.high)) {
    estimate.reason = "constant data: all " + std::to_string(estimate.num_clusters) + " clusters are equal";
    return;
  }
  const double share = -std::expm1(std::log((1 - estimate.confidence) / 2) / static_cast<double>(num_units));
  estimate.method = kConstantMethod;
  estimate.num_clusters = num_units;
  estimate.low = estimate.value - share * (estimate.value - range.low);
  estimate.high = estimate.value + share * (range.high - estimate.value);
}

// The clusters that take part: their influence, and the sum of their units' own values.
struct ClusterSums {
  std::vector<double> influence;
  std::vector<double> value;
};

ClusterSums sum_by_cluster(const Linearised& statistic, std::span<const std::int64_t> cluster) {
  ClusterSums sums;
  std::unordered_map<std::int64_t, std::size_t> place;
  for (std::size_t unit = 0; unit < cluster.size(); ++unit) {
    if (!statistic.member[unit]) continue;
    const auto [entry, is_new] = place.try_emplace(cluster[unit], place.size());
    if (is_new) {
      sums.influence.push_back(0);
      sums.value.push_back(0);
    }
    sums.influence[entry->second] += statistic.influence[unit];
    if (!statistic.unit_value.empty() && std::isfinite(statistic.unit_value[unit]))
      sums.value[entry->second] += statistic.unit_value[unit];
  }
  return sums;
}

double sum_of_squares(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0, [](double sum, double x) { return sum + x * x; });
}

// Sets standard error and interval by t, of the mean that t_statistic() tells.
void set_t_interval(Estimate& estimate, double variance, Range range) {
  estimate.standard_error = std::sqrt(variance);
  const TStatistic t = t_statistic(estimate);
  const double half = t_quantile(0.5 + estimate.confidence / 2, t.df) * t.standard_error;
  // The value lies outside where a low confidence makes the interval of the pseudo-claims' mean short.
  estimate.low = std::clamp(t.mean - half, range.low, std::max(range.low, estimate.value));
  estimate.high = std::clamp(t.mean + half, std::min(range.high, estimate.value), range.high);
}

// The variance of the mean of the clusters and of two values +size and -size.
double pseudo_variance(double value, double squares, std::int64_t num_clusters, double size) {
  const auto g = static_cast<double>(num_clusters);
  const double mean = value * g / (g + 2);
  const double moved = value - mean;
  return (g * g * squares + g * moved * moved + 2 * (size * size + mean * mean)) / ((g + 1) * (g + 2));
}

bool is_yes_or_no(double value) { return value == 0 || value == 1; }

// The table of the clusters' answers, where each has one pair of yes/no answers.
std::optional<PairedTable> one_pair_each(const Linearised& after, const Linearised& before, std::int64_t num_clusters,
                                         std::int64_t num_rows) {
  const std::int64_t num_units = std::ranges::count(after.member, 1);
  if (after.member != before.member || num_units != num_clusters || num_units != num_rows) return std::nullopt;
  PairedTable table;
  for (std::size_t unit = 0; unit < after.member.size(); ++unit) {
    if (!after.member[unit]) continue;
    const double first = after.unit_value[unit], second = before.unit_value[unit];
    if (!is_yes_or_no(first) || !is_yes_or_no(second)) return std::nullopt;
    ++(first == 1 ? (second == 1 ? table.a : table.b) : (second == 1 ? table.c : table.d));
  }
  return table;
}

}  // namespace

Range change_range(Range range) {
  const double width = range.high - range.low;
  const double pseudo = std::isfinite(width) ? std::min(width, std::max(std::abs(range.low), std::abs(range.high))) : 0;
  return {-width, width, pseudo};
}

Linearised linearise(const Ratio& ratio) {
  const std::size_t num_units = ratio.numerator.size();
  require(ratio.denominator.size() == num_units, "linearise: wanted as many denominators as numerators");
  const double total = std::accumulate(ratio.denominator.begin(), ratio.denominator.end(), 0.0);
  const double value = std::accumulate(ratio.numerator.begin(), ratio.numerator.end(), 0.0) / total;  // NaN if 0 / 0
  Linearised statistic{.value = value,
                       .influence = std::vector<double>(num_units, 0.0),
                       .member = std::vector<std::uint8_t>(num_units, 0),
                       .unit_value = std::vector<double>(num_units, kNan)};
  for (std::size_t unit = 0; unit < num_units; ++unit) {
    const double share = ratio.denominator[unit];
    if (share == 0) continue;
    ++statistic.num_units;
    statistic.member[unit] = 1;
    statistic.influence[unit] = (ratio.numerator[unit] - value * share) / total;
    statistic.unit_value[unit] = ratio.numerator[unit] / share;
  }
  return statistic;
}

Linearised difference(const Linearised& after, const Linearised& before) {
  require(after.influence.size() == before.influence.size(), "difference: before and after hold different units");
  Linearised change{.value = after.value - before.value,
                    .influence = after.influence,
                    .member = after.member,
                    .unit_value = after.unit_value,
                    .num_units = std::min(after.num_units, before.num_units)};
  for (std::size_t unit = 0; unit < change.influence.size(); ++unit) {
    change.influence[unit] -= before.influence[unit];
    change.member[unit] = change.member[unit] | before.member[unit];
    if (!change.unit_value.empty()) change.unit_value[unit] -= before.unit_value[unit];
  }
  return change;
}

Estimate cluster_t(const Linearised& statistic, std::span<const std::int64_t> cluster, double confidence, Range range) {
  require(cluster.size() == statistic.influence.size(), "cluster_t: wanted one cluster a unit");
  require_confidence(confidence, "cluster_t");
  Estimate estimate{.value = statistic.value, .confidence = confidence, .method = kMethod};
  const ClusterSums sums = sum_by_cluster(statistic, cluster);
  estimate.num_clusters = static_cast<std::int64_t>(sums.influence.size());
  if (range != kRate) {
    estimate.num_rose = std::ranges::count_if(sums.value, [](double value) { return value > kRounding; });
    estimate.num_fell = std::ranges::count_if(sums.value, [](double value) { return value < -kRounding; });
  }
  const std::int64_t num_units = std::min(statistic.num_units, estimate.num_clusters);
  const auto g = static_cast<double>(estimate.num_clusters);
  if (std::isnan(statistic.value)) {
    estimate.reason = "no such prompt was asked, or none could be scored";
  } else if (estimate.num_clusters < 2) {
    estimate.reason = "one cluster: its variation cannot be estimated";
  } else if (range.pseudo > 0 && num_units > 0) {
    estimate.method = kPseudoMethod;
    estimate.pseudo = range.pseudo;
    estimate.num_clusters = num_units;
    const double squares = sum_of_squares(sums.influence);
    set_t_interval(estimate, pseudo_variance(statistic.value, squares, num_units, range.pseudo), range);
  } else if (is_constant(sums.influence, statistic.value)) {
    bound_constant(estimate, num_units, range);
  } else {
    set_t_interval(estimate, g / (g - 1) * sum_of_squares(sums.influence), range);
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
  Estimate estimate = cluster_t(linearise(totals.mean), own_cluster, confidence, range);
  estimate.n = static_cast<std::int64_t>(values.size()) - totals.num_unscored;
  estimate.num_unscored = totals.num_unscored;
  if (range == kRate) bound_rate(estimate);
  return estimate;
}

Estimate paired_change(const Linearised& after, const Linearised& before, std::span<const std::int64_t> cluster,
                       double confidence, Range range, std::int64_t num_rows) {
  Estimate estimate = cluster_t(difference(after, before), cluster, confidence, change_range(range));
  if (std::isnan(estimate.low)) return estimate;
  estimate.method = kPaired + estimate.method;
  if (range != kRate) return estimate;
  if (const auto table = one_pair_each(after, before, estimate.num_clusters, num_rows)) {
    const Estimate exact = tango(*table, confidence);
    estimate.method = exact.method;
    estimate.low = exact.low;
    estimate.high = exact.high;
  }
  return estimate;
}

Estimate paired_difference(std::span<const double> before, std::span<const double> after,
                           std::span<const std::int64_t> clusters, double confidence, Range range) {
  require(before.size() == after.size(), "paired_difference: wanted pairs, got " + std::to_string(before.size()) +
                                             " rows before and " + std::to_string(after.size()) + " after");
  const auto scored_in_both = [](std::span<const double> own, std::span<const double> other) {
    std::vector<double> values(own.begin(), own.end());
    for (std::size_t row = 0; row < values.size(); ++row) {
      if (!std::isfinite(other[row])) values[row] = kNan;
    }
    return values;
  };
  const ClusterTotals old = cluster_totals(scored_in_both(before, after), clusters);
  const ClusterTotals now = cluster_totals(scored_in_both(after, before), clusters);
  std::vector<std::int64_t> own_cluster(now.mean.numerator.size());
  std::iota(own_cluster.begin(), own_cluster.end(), 0);
  const std::int64_t n = static_cast<std::int64_t>(after.size()) - now.num_unscored;
  Estimate estimate = paired_change(linearise(now.mean), linearise(old.mean), own_cluster, confidence, range, n);
  estimate.n = n;
  estimate.num_unscored = now.num_unscored;
  return estimate;
}

TStatistic t_statistic(const Estimate& estimate) {
  const auto g = static_cast<double>(estimate.num_clusters);
  const bool has_pseudo = estimate.pseudo > 0;
  return {has_pseudo ? estimate.value * g / (g + 2) : estimate.value, estimate.standard_error,
          has_pseudo ? g + 1 : g - 1};
}

double p_value(const Estimate& estimate) {
  if (std::isnan(estimate.low)) return kNan;
  if (estimate.method == kTangoMethod) {
    const auto changed = static_cast<double>(estimate.num_rose + estimate.num_fell);
    const auto net = static_cast<double>(estimate.num_rose - estimate.num_fell);
    return changed == 0 ? 1 : 2 * normal_cdf(-std::abs(net) / std::sqrt(changed));
  }
  TStatistic t = t_statistic(estimate);
  if (std::isnan(t.standard_error)) {
    const double half = t.mean > 0 ? t.mean - estimate.low : estimate.high - t.mean;
    t.standard_error = half / t_quantile(0.5 + estimate.confidence / 2, t.df);
  }
  return t_two_sided(t.mean / t.standard_error, t.df);
}

}  // namespace syco::stats
