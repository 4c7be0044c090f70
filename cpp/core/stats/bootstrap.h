// The cluster bootstrap: whole clusters are drawn with replacement, and the statistic is computed anew.
//
// Resample r depends on (seed, r) alone, so the same seed gives the same bits for any number of threads. resample.h
// says how it is drawn.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/stats/clustered.h"

namespace syco::stats {

enum class BootstrapMethod { kPercentile, kBca };

struct BootstrapOptions {
  BootstrapMethod method = BootstrapMethod::kBca;
  double confidence = 0.95;
  std::int64_t num_resamples = 10000;
  std::uint64_t seed = 0;
  int num_threads = 0;  // 0: one a core
};

// The statistic sum_k sign_k * N_k / D_k of every resample, in order; the terms' units are the clusters. NaN where a
// resample leaves a denominator zero. At most 3 terms. Throws DataError if there is no cluster or no resample.
std::vector<double> bootstrap_distribution(std::span<const RatioTerm> terms, const BootstrapOptions& options);

// Interval of the mean of rows in clusters. Percentile: quantiles of the distribution, linearly interpolated. BCa
// (Efron 1987): bias from the share of resamples below the estimate, ties counted half; acceleration from the jackknife
// over clusters. Non-finite rows are unscored. One cluster, constant data: NaN with a reason. Oracle:
// scipy.stats.bootstrap on the cluster totals.
Estimate bootstrap_mean(std::span<const double> values, std::span<const std::int64_t> clusters,
                        const BootstrapOptions& options = {});

// The same for any sum of signed ratios over clusters.
Estimate bootstrap(std::span<const RatioTerm> terms, const BootstrapOptions& options = {});

}  // namespace syco::stats
