#include "core/stats/intervals.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/base/errors.h"
#include "core/stats/special.h"

namespace syco::stats {
namespace {

Estimate rate(std::int64_t successes, std::int64_t n, double confidence, const char* method) {
  require(n >= 0 && successes >= 0 && successes <= n, std::string(method) + ": successes must be in [0, n], got " +
                                                          std::to_string(successes) + " of " + std::to_string(n));
  require_confidence(confidence, method);
  Estimate estimate{.confidence = confidence, .method = method, .n = n, .num_clusters = n};
  if (n == 0) {
    estimate.reason = "no rows";
  } else {
    estimate.value = static_cast<double>(successes) / static_cast<double>(n);
  }
  return estimate;
}

}  // namespace

void require_confidence(double confidence, const char* who) {
  require(confidence > 0 && confidence < 1,
          std::string(who) + ": confidence must be between 0 and 1, got " + std::to_string(confidence));
}

Estimate wilson(std::int64_t successes, std::int64_t n, double confidence) {
  Estimate estimate = rate(successes, n, confidence, "wilson");
  if (n == 0) return estimate;
  const double z = normal_quantile(0.5 + confidence / 2);
  const auto size = static_cast<double>(n);
  const double p = estimate.value;
  const double middle = (p + z * z / (2 * size)) / (1 + z * z / size);
  const double half = z / (1 + z * z / size) * std::sqrt(p * (1 - p) / size + z * z / (4 * size * size));
  // At 0 and n the bound is exactly 0 or 1; rounding must not leave it a hair off.
  estimate.low = successes == 0 ? 0 : middle - half;
  estimate.high = successes == n ? 1 : middle + half;
  return estimate;
}

Estimate clopper_pearson(std::int64_t successes, std::int64_t n, double confidence) {
  Estimate estimate = rate(successes, n, confidence, "clopper-pearson");
  if (n == 0) return estimate;
  const double tail = (1 - confidence) / 2;
  estimate.low = 1 - clopper_pearson_upper(n - successes, n, 1 - tail);
  estimate.high = clopper_pearson_upper(successes, n, 1 - tail);
  return estimate;
}

double clopper_pearson_upper(std::int64_t successes, std::int64_t n, double confidence) {
  rate(successes, n, confidence, "clopper-pearson");
  return clopper_pearson_upper(static_cast<double>(successes), static_cast<double>(n), confidence);
}

double clopper_pearson_upper(double successes, double n, double confidence) {
  if (successes >= n) return 1;
  if (successes == 0) return -std::expm1(std::log1p(-confidence) / n);
  return incomplete_beta_inverse(successes + 1, n - successes, confidence);
}

Estimate mover(const Estimate& first, const Estimate& second) {
  Estimate estimate{.value = first.value - second.value,
                    .confidence = first.confidence,
                    .method = "mover",
                    .n = first.n,
                    .num_clusters = std::min(first.num_clusters, second.num_clusters),
                    .num_unscored = first.num_unscored,
                    .reason = first.reason.empty() ? second.reason : first.reason};
  estimate.low = estimate.value - std::hypot(first.value - first.low, second.high - second.value);
  estimate.high = estimate.value + std::hypot(first.high - first.value, second.value - second.low);
  return estimate;
}

}  // namespace syco::stats
