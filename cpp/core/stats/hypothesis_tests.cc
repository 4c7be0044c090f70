#include "core/stats/hypothesis_tests.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "core/base/errors.h"
#include "core/stats/clustered.h"
#include "core/stats/paired.h"
#include "core/stats/special.h"

namespace syco::stats {
namespace {

double tost_of_answers(const Estimate& estimate, double margin) {
  const double size = estimate.pseudo, share = margin / size;
  require(share < 1,
          "tost: margin must be less than one answer, " + std::to_string(size) + ", got " + std::to_string(margin));
  const auto g = static_cast<double>(estimate.num_clusters);
  if (g < 2) return kNan;
  const TStatistic t = t_statistic(estimate);
  const double mean = t.mean / size, error = t.standard_error / size;
  // Sums over the clusters, those of the pseudo-claims taken off.
  const double sum = (g + 2) * mean;
  const double squares = (g + 1) * (g + 2) * error * error + (g + 2) * mean * mean - 2;
  const double rose = (squares + sum) / 2, fell = (squares - sum) / 2;
  const double score = std::min(tango_score(g, rose, fell, -share), tango_score(g, fell, rose, -share));
  return std::max(t_cdf(-score * std::sqrt((g - 1) / g), g - 1), std::pow(1 - share, g));
}

}  // namespace

double mcnemar_exact(std::int64_t b, std::int64_t c) {
  require(b >= 0 && c >= 0,
          "mcnemar_exact: counts must not be negative, got " + std::to_string(b) + " and " + std::to_string(c));
  if (b == c) return 1;
  // The binomial's tail at one half, on both sides.
  const auto most = static_cast<double>(std::max(b, c)), least = static_cast<double>(std::min(b, c));
  return std::min(1.0, 2 * incomplete_beta(most, least + 1, 0.5));
}

std::vector<double> holm(std::span<const double> p_values) {
  std::vector<std::size_t> rank;
  for (std::size_t i = 0; i < p_values.size(); ++i) {
    require(std::isnan(p_values[i]) || (p_values[i] >= 0 && p_values[i] <= 1),
            "holm: p values must be between 0 and 1, got " + std::to_string(p_values[i]) + " at " + std::to_string(i));
    if (!std::isnan(p_values[i])) rank.push_back(i);
  }
  std::ranges::stable_sort(rank, {}, [&](std::size_t i) { return p_values[i]; });
  std::vector<double> adjusted(p_values.size(), kNan);
  double largest = 0;
  for (std::size_t step = 0; step < rank.size(); ++step) {
    largest = std::max(largest, std::min(1.0, static_cast<double>(rank.size() - step) * p_values[rank[step]]));
    adjusted[rank[step]] = largest;
  }
  return adjusted;
}

double cohens_h(double p1, double p2) {
  require(p1 >= 0 && p1 <= 1 && p2 >= 0 && p2 <= 1,
          "cohens_h: rates must be between 0 and 1, got " + std::to_string(p1) + " and " + std::to_string(p2));
  return 2 * std::asin(std::sqrt(p1)) - 2 * std::asin(std::sqrt(p2));
}

double tost(const Estimate& estimate, double margin) {
  require(margin > 0, "tost: margin must be > 0, got " + std::to_string(margin));
  if (estimate.pseudo > 0) return tost_of_answers(estimate, margin);
  const TStatistic t = t_statistic(estimate);
  if (std::isnan(t.standard_error) || t.df < 1) return kNan;
  const double below = t_cdf(-(t.mean + margin) / t.standard_error, t.df);
  const double above = t_cdf((t.mean - margin) / t.standard_error, t.df);
  return std::max(below, above);
}

}  // namespace syco::stats
