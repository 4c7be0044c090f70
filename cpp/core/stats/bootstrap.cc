#include "core/stats/bootstrap.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include "core/base/errors.h"
#include "core/base/rng.h"
#include "core/base/threads.h"
#include "core/stats/resample.h"
#include "core/stats/special.h"

namespace syco::stats {
namespace {

constexpr std::size_t kMaxTerms = 3;
constexpr double kMostUndefined = 0.05;

// Quantile by linear interpolation, as numpy.quantile's default.
double quantile(std::span<const double> sorted, double p) {
  const double place = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

// Skewness of the leave-one-cluster-out values over six: Efron 1987, equation 6.6.
double acceleration(std::span<const RatioTerm> terms) {
  const std::size_t num_clusters = terms[0].numerator.size();
  std::vector<double> left_out(num_clusters, 0.0);
  for (const RatioTerm& term : terms) {
    const double numerator = std::accumulate(term.numerator.begin(), term.numerator.end(), 0.0);
    const double denominator = std::accumulate(term.denominator.begin(), term.denominator.end(), 0.0);
    for (std::size_t i = 0; i < num_clusters; ++i) {
      left_out[i] += term.sign * (numerator - term.numerator[i]) / (denominator - term.denominator[i]);
    }
  }
  const double mean = std::accumulate(left_out.begin(), left_out.end(), 0.0) / static_cast<double>(num_clusters);
  double squares = 0;
  double cubes = 0;
  for (const double value : left_out) {
    squares += (mean - value) * (mean - value);
    cubes += (mean - value) * (mean - value) * (mean - value);
  }
  return cubes / (6 * std::pow(squares, 1.5));
}

// The share of the distribution that lies below the estimate, ties half.
double share_below(std::span<const double> sorted, double value) {
  const double slack = 1e-12 * std::max({1e-300, std::abs(sorted.front()), std::abs(sorted.back())});
  const auto below = std::ranges::lower_bound(sorted, value - slack) - sorted.begin();
  const auto not_above = std::ranges::upper_bound(sorted, value + slack) - sorted.begin();
  return static_cast<double>(below + not_above) / (2 * static_cast<double>(sorted.size()));
}

void set_interval(Estimate& estimate, std::span<const double> sorted, std::span<const RatioTerm> terms,
                  BootstrapMethod method) {
  std::array<double, 2> tails{(1 - estimate.confidence) / 2, (1 + estimate.confidence) / 2};
  if (method == BootstrapMethod::kBca) {
    const double bias = normal_quantile(share_below(sorted, estimate.value));
    const double a = acceleration(terms);
    for (double& tail : tails) {
      const double shifted = bias + normal_quantile(tail);
      tail = normal_cdf(bias + shifted / (1 - a * shifted));
    }
    if (!std::isfinite(tails[0]) || !std::isfinite(tails[1])) {
      estimate.reason =
          "BCa is not defined here: no resample lies on one side of the estimate, or a single cluster decides";
      return;
    }
  }
  estimate.low = quantile(sorted, tails[0]);
  estimate.high = quantile(sorted, tails[1]);
}

}  // namespace

std::vector<double> bootstrap_distribution(std::span<const RatioTerm> terms, const BootstrapOptions& options) {
  require(!terms.empty() && terms.size() <= kMaxTerms,
          "bootstrap: wanted 1 to 3 ratios, got " + std::to_string(terms.size()));
  require(options.num_resamples > 0,
          "bootstrap: num_resamples must be > 0, got " + std::to_string(options.num_resamples));
  const std::size_t num_clusters = terms[0].numerator.size();
  require(num_clusters > 0 && num_clusters < (std::uint64_t{1} << 32),
          "bootstrap: wanted 1 to 2^32 - 1 clusters, got " + std::to_string(num_clusters));
  for (const RatioTerm& term : terms) {
    require(term.numerator.size() == num_clusters && term.denominator.size() == num_clusters,
            "bootstrap: wanted the same number of clusters in every term");
  }
  std::vector<std::span<const double>> columns;
  for (const RatioTerm& term : terms) {
    columns.emplace_back(term.numerator);
    columns.emplace_back(term.denominator);
  }
  const Resampler resampler(columns, num_clusters);
  const Rng rng{options.seed};
  std::vector<double> values(static_cast<std::size_t>(options.num_resamples));
  for_each_index(options.num_resamples, options.num_threads, [&](IndexQueue& queue) {
    while (const auto resample = queue.next()) {
      const auto index = static_cast<std::uint64_t>(*resample);
      const std::vector<double> totals = resampler.totals(rng.at(Stream::kResamples, index));
      for (std::size_t i = 0; i < terms.size(); ++i)
        values[index] += terms[i].sign * totals[2 * i] / totals[2 * i + 1];  // NaN for 0 / 0
    }
  });
  return values;
}

Estimate bootstrap(std::span<const RatioTerm> terms, const BootstrapOptions& options) {
  require_confidence(options.confidence, "bootstrap");
  const bool is_bca = options.method == BootstrapMethod::kBca;
  Estimate estimate{.confidence = options.confidence,
                    .method = is_bca ? "cluster bootstrap (BCa)" : "cluster bootstrap (percentile)"};
  estimate.num_clusters = terms.empty() ? 0 : static_cast<std::int64_t>(terms[0].numerator.size());
  if (estimate.num_clusters == 0) {
    estimate.reason = "no scored rows";
    return estimate;
  }
  estimate.value = linearise(terms).value;
  if (estimate.num_clusters == 1) {
    estimate.reason = "one cluster: its variation cannot be estimated";
    return estimate;
  }
  std::vector<double> values = bootstrap_distribution(terms, options);
  std::erase_if(values, [](double value) { return !std::isfinite(value); });
  const double undefined = 1 - static_cast<double>(values.size()) / static_cast<double>(options.num_resamples);
  if (std::isnan(estimate.value) || undefined > kMostUndefined) {
    estimate.reason = "the statistic is undefined in " + std::to_string(undefined) + " of the resamples";
    return estimate;
  }
  std::ranges::sort(values);
  const double spread = values.back() - values.front();
  if (spread <= 1e-12 * std::max(std::abs(values.back()), std::abs(values.front()))) {
    estimate.reason = "constant data: all resamples are equal";
    return estimate;
  }
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  estimate.standard_error = std::sqrt(squares / static_cast<double>(values.size() - 1));
  set_interval(estimate, values, terms, options.method);
  return estimate;
}

Estimate bootstrap_mean(std::span<const double> values, std::span<const std::int64_t> clusters,
                        const BootstrapOptions& options) {
  const ClusterTotals totals = cluster_totals(values, clusters);
  Estimate estimate = bootstrap({&totals.mean, 1}, options);
  estimate.n = static_cast<std::int64_t>(values.size()) - totals.num_unscored;
  estimate.num_unscored = totals.num_unscored;
  return estimate;
}

}  // namespace syco::stats
