#include "core/stats/bootstrap.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include "core/errors.h"
#include "core/rng.h"
#include "core/stats/resample.h"
#include "core/stats/special.h"
#include "core/threads.h"

namespace syco::stats {
namespace {

constexpr std::size_t kMaxTerms = 3;
constexpr double kMostUndefined = 0.05;

// Numerators and denominators of one cluster side by side, so that a draw touches one place in memory.
template <std::size_t num_terms>
using Totals = std::array<double, 2 * num_terms>;

template <std::size_t num_terms>
double value_of(const Totals<num_terms>& totals, std::span<const RatioTerm> terms) {
  double value = 0;
  for (std::size_t term = 0; term < num_terms; ++term)
    value += terms[term].sign * totals[2 * term] / totals[2 * term + 1];
  return value;  // NaN for 0 / 0
}

template <std::size_t num_terms>
std::vector<Totals<num_terms>> interleave(std::span<const RatioTerm> terms) {
  std::vector<Totals<num_terms>> clusters(terms[0].numerator.size());
  for (std::size_t cluster = 0; cluster < clusters.size(); ++cluster) {
    for (std::size_t term = 0; term < num_terms; ++term) {
      clusters[cluster][2 * term] = terms[term].numerator[cluster];
      clusters[cluster][2 * term + 1] = terms[term].denominator[cluster];
    }
  }
  return clusters;
}

// The totals of one resample. Each lane adds on its own, so that no addition waits for the one before.
template <std::size_t num_terms, int batch>
Totals<num_terms> resampled(std::span<const Totals<num_terms>> clusters, std::uint64_t seed, std::uint64_t resample) {
  const std::array<std::uint64_t, 2> key{seed, static_cast<std::uint64_t>(Stream::kResamples)};
  std::array<Totals<num_terms>, batch> lanes{};
  draw_indices<batch>(clusters.size(), static_cast<std::int64_t>(clusters.size()), key, resample,
                      [&](int lane, std::uint64_t cluster) {
                        for (std::size_t i = 0; i < 2 * num_terms; ++i) lanes[lane][i] += clusters[cluster][i];
                      });
  for (int lane = 1; lane < batch; ++lane) {
    for (std::size_t i = 0; i < 2 * num_terms; ++i) lanes[0][i] += lanes[lane][i];
  }
  return lanes[0];
}

template <std::size_t num_terms, int batch>
std::vector<double> distribution(std::span<const RatioTerm> terms, const BootstrapOptions& options) {
  const std::vector<Totals<num_terms>> clusters = interleave<num_terms>(terms);
  std::vector<double> values(static_cast<std::size_t>(options.num_resamples));
  for_each_index(options.num_resamples, options.num_threads, [&](IndexQueue& queue) {
    while (const auto resample = queue.next()) {
      const auto index = static_cast<std::uint64_t>(*resample);
      values[index] = value_of<num_terms>(resampled<num_terms, batch>(clusters, options.seed, index), terms);
    }
  });
  return values;
}

template <std::size_t num_terms>
std::vector<double> distribution(std::span<const RatioTerm> terms, const BootstrapOptions& options) {
  switch (indices_per_word(terms[0].numerator.size())) {
    case 5:
      return distribution<num_terms, 5>(terms, options);
    case 4:
      return distribution<num_terms, 4>(terms, options);
    case 3:
      return distribution<num_terms, 3>(terms, options);
    default:
      return distribution<num_terms, 1>(terms, options);
  }
}

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
  if (terms.size() == 1) return distribution<1>(terms, options);
  return terms.size() == 2 ? distribution<2>(terms, options) : distribution<3>(terms, options);
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
