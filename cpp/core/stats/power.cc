#include "core/stats/power.h"

#include <cmath>
#include <string>

#include "core/base/errors.h"
#include "core/stats/clustered.h"
#include "core/stats/special.h"

namespace syco::stats {
namespace {

constexpr double kMostRatio = 1e16;  // of variance to squared effect: some 10^17 clusters

void require_options(const PowerOptions& options, const char* who) {
  require(options.alpha > 0 && options.alpha < 1 && options.power > 0 && options.power < 1,
          std::string(who) + ": alpha and power must be between 0 and 1, got " + std::to_string(options.alpha) +
              " and " + std::to_string(options.power));
}

void require_changes(double p10, double p01, const char* who) {
  require(p10 >= 0 && p01 >= 0 && p10 + p01 <= 1 && p10 != p01,
          std::string(who) + ": wanted two different shares of changed pairs, together at most 1, got " +
              std::to_string(p10) + " and " + std::to_string(p01));
}

}  // namespace

double mcnemar_sample_size(double p10, double p01, const PowerOptions& options) {
  require_options(options, "mcnemar_sample_size");
  require_changes(p10, p01, "mcnemar_sample_size");
  const double changed = p10 + p01;
  const double effect = p10 - p01;
  const double root = normal_quantile(1 - options.alpha / 2) * std::sqrt(changed) +
                      normal_quantile(options.power) * std::sqrt(changed - effect * effect);
  return root * root / (effect * effect);
}

double mcnemar_power(double n, double p10, double p01, double alpha) {
  require_options({.alpha = alpha}, "mcnemar_power");
  require_changes(p10, p01, "mcnemar_power");
  require(n > 0, "mcnemar_power: n must be > 0, got " + std::to_string(n));
  const double changed = p10 + p01;
  const double effect = std::abs(p10 - p01);
  return normal_cdf((effect * std::sqrt(n) - normal_quantile(1 - alpha / 2) * std::sqrt(changed)) /
                    std::sqrt(changed - effect * effect));
}

double clusters_needed(double effect, double sd, const PowerOptions& options) {
  require_options(options, "clusters_needed");
  require(effect != 0 && sd > 0, "clusters_needed: wanted an effect that is not 0 and sd > 0, got " +
                                     std::to_string(effect) + " and " + std::to_string(sd));
  const double ratio = sd * sd / (effect * effect);
  require(ratio <= kMostRatio, "clusters_needed: no number of clusters shows an effect of " + std::to_string(effect) +
                                   " at an sd of " + std::to_string(sd));
  const auto excess = [&](double size) {
    const double t = t_quantile(1 - options.alpha / 2, size - 1) + t_quantile(options.power, size - 1);
    return size - t * t * ratio;
  };
  double low = 2;
  double high = 4;
  if (excess(low) >= 0) return low;
  while (excess(high) < 0) high *= 2;
  for (int step = 0; step < 100 && high - low > 1e-9 * high; ++step) {
    const double middle = (low + high) / 2;
    (excess(middle) < 0 ? low : high) = middle;
  }
  return high;
}

double detectable(const Estimate& estimate, double power) {
  require_options({.power = power}, "detectable");
  const TStatistic t = t_statistic(estimate);
  if (std::isnan(t.standard_error) || t.df < 1) return kNan;
  return (t_quantile(0.5 + estimate.confidence / 2, t.df) + t_quantile(power, t.df)) * t.standard_error;
}

}  // namespace syco::stats
