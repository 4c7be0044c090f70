#include "core/stats/paired.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/base/errors.h"
#include "core/stats/intervals.h"
#include "core/stats/special.h"

namespace syco::stats {
namespace {

Estimate difference_of(const PairedTable& table, double confidence, const char* method) {
  require(table.a >= 0 && table.b >= 0 && table.c >= 0 && table.d >= 0,
          std::string(method) + ": counts must not be negative");
  require_confidence(confidence, method);
  const std::int64_t n = table.n();
  Estimate estimate{
      .confidence = confidence, .method = method, .n = n, .num_clusters = n, .num_rose = table.b, .num_fell = table.c};
  if (n == 0) {
    estimate.reason = "no pairs";
  } else {
    estimate.value = static_cast<double>(table.b - table.c) / static_cast<double>(n);
  }
  return estimate;
}

// Where the score equals `z`, by bisection between `low` (score above z) and `high`.
double solve_tango(const PairedTable& table, double z, double low, double high) {
  const auto n = static_cast<double>(table.n());
  const auto b = static_cast<double>(table.b), c = static_cast<double>(table.c);
  for (int step = 0; step < 200 && high - low > 1e-16; ++step) {
    const double middle = (low + high) / 2;
    (tango_score(n, b, c, middle) > z ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

// Falls as delta grows.
double tango_score(double n, double b, double c, double delta) {
  const double linear = -b - c + (2 * n - b + c) * delta;
  const double constant = -c * delta * (1 - delta);
  // The maximum-likelihood rate of "only the second" under delta.
  const double q = (std::sqrt(std::max(0.0, linear * linear - 8 * n * constant)) - linear) / (4 * n);
  return (b - c - n * delta) / std::sqrt(n * (2 * q + delta * (1 - delta)));
}

Estimate tango(const PairedTable& table, double confidence) {
  Estimate estimate = difference_of(table, confidence, kTangoMethod);
  if (table.n() == 0) return estimate;
  const double z = normal_quantile(0.5 + confidence / 2);
  estimate.low = estimate.value <= -1 ? -1 : solve_tango(table, z, -1, estimate.value);
  estimate.high = estimate.value >= 1 ? 1 : solve_tango(table, -z, estimate.value, 1);
  return estimate;
}

Estimate newcombe(const PairedTable& table, double confidence) {
  Estimate estimate = difference_of(table, confidence, "newcombe-10");
  if (table.n() == 0) return estimate;
  const Estimate first = wilson(table.a + table.b, table.n(), confidence);
  const Estimate second = wilson(table.a + table.c, table.n(), confidence);
  const auto real = [](std::int64_t whole) { return static_cast<double>(whole); };
  const double margins =
      real(table.a + table.b) * real(table.c + table.d) * real(table.a + table.c) * real(table.b + table.d);
  const double product = real(table.a) * real(table.d) - real(table.b) * real(table.c);
  // A positive correlation is taken with a continuity correction, as the method says.
  const double cross = product > 0 ? std::max(0.0, product - real(table.n()) / 2) : product;
  const double phi = margins > 0 ? cross / std::sqrt(margins) : 0;
  const auto joined = [phi](double x, double y) { return std::sqrt(x * x - 2 * phi * x * y + y * y); };
  estimate.low = estimate.value - joined(first.value - first.low, second.high - second.value);
  estimate.high = estimate.value + joined(second.value - second.low, first.high - first.value);
  return estimate;
}

}  // namespace syco::stats
