#include "core/stats/special.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

namespace syco::stats {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kTiny = 1e-300;

// Continued fraction of the incomplete beta function by Lentz's method (DLMF 8.17.22); converges fast for
// x < (a + 1) / (a + b + 2), in about sqrt(max(a, b)) steps. NaN where it does not, of more than some 1e8.
double beta_fraction(double a, double b, double x) {
  double c = 1;
  double d = 1 / std::max(std::abs(1 - (a + b) * x / (a + 1)), kTiny);
  if (1 - (a + b) * x / (a + 1) < 0) d = -d;
  double fraction = d;
  for (int step = 1; step <= 20000; ++step) {
    const double m = step;
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    for (const double term : {even, odd}) {
      d = 1 + term * d;
      c = 1 + term / c;
      if (std::abs(d) < kTiny) d = kTiny;
      if (std::abs(c) < kTiny) c = kTiny;
      d = 1 / d;
      fraction *= c * d;
    }
    if (std::abs(c * d - 1) < 1e-16) return fraction;
  }
  return std::abs(c * d - 1) < 1e-12 ? fraction : kNan;
}

// lgamma(x) less Stirling's formula, for x >= 10 (DLMF 5.11.1); keeps differences of large lgammas exact.
double stirling_rest(double x) {
  const double r = 1 / (x * x);
  return (1.0 / 12 - r * (1.0 / 360 - r * (1.0 / 1260 - r * (1.0 / 1680 - r * (1.0 / 1188 - r * 691.0 / 360360))))) / x;
}

// log of x^a (1 - x)^b / B(a, b). For large a and b the three parts cancel: there they are taken relative to the mean.
double log_kernel(double a, double b, double x) {
  if (std::min(a, b) < 10) return a * std::log(x) + b * std::log1p(-x) - log_beta(a, b);
  const double mean = a / (a + b);
  const double rest = stirling_rest(a) + stirling_rest(b) - stirling_rest(a + b);
  const double distance = x - mean;
  return a * std::log1p(distance / mean) + b * std::log1p(-distance / (1 - mean)) - rest +
         0.5 * std::log(mean * b / (2 * std::numbers::pi));
}

// A point inside (low, high), in the middle on the log scale where the bracket spans decades.
double middle_of(double low, double high) {
  if (low == 0) return high > 1e-3 ? high / 2 : high / 1000;
  return high / low > 4 ? std::sqrt(low * high) : (low + high) / 2;
}

// Upper tail quantile z with P(Z > z) = q for q in (0, 0.5]: a rational start (Abramowitz and Stegun 26.2.23, error
// below 4.5e-4), then Halley steps on the exact tail.
double normal_tail_quantile(double q) {
  const double s = std::sqrt(-2 * std::log(q));
  double z = s - (2.515517 + s * (0.802853 + s * 0.010328)) / (1 + s * (1.432788 + s * (0.189269 + s * 0.001308)));
  for (int step = 0; step < 4; ++step) {
    const double excess = 0.5 * std::erfc(z / std::numbers::sqrt2) - q;
    const double newton = -excess * std::sqrt(2 * std::numbers::pi) * std::exp(z * z / 2);
    z -= newton / (1 + newton * z / 2);
  }
  return z;
}

}  // namespace

double log_beta(double a, double b) {
  if (a > b) std::swap(a, b);
  if (b < 10) return std::lgamma(a) + std::lgamma(b) - std::lgamma(a + b);
  if (a < 10) {
    return std::lgamma(a) + stirling_rest(b) - stirling_rest(a + b) - (b - 0.5) * std::log1p(a / b) -
           a * std::log(a + b) + a;
  }
  return 0.5 * std::log(2 * std::numbers::pi / b) + stirling_rest(a) + stirling_rest(b) - stirling_rest(a + b) +
         (a - 0.5) * std::log(a / (a + b)) - b * std::log1p(a / b);
}

double incomplete_beta(double a, double b, double x) {
  if (!(a > 0 && b > 0 && x >= 0 && x <= 1)) return kNan;
  if (x == 0 || x == 1) return x;
  const double front = std::exp(log_kernel(a, b, x));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double incomplete_beta_inverse(double a, double b, double p) {
  if (!(a > 0 && b > 0 && p >= 0 && p <= 1)) return kNan;
  if (p == 0 || p == 1) return p;
  double low = 0;
  double high = 1;
  double x = a / (a + b);
  for (int step = 0; step < 400; ++step) {
    const double excess = incomplete_beta(a, b, x) - p;
    if (std::isnan(excess)) return kNan;
    (excess > 0 ? high : low) = x;
    const double density = std::exp(log_kernel(a, b, x)) / (x * (1 - x));
    double next = x - excess / density;
    if (excess == 0 || std::abs(next - x) <= 1e-14 * x) return std::clamp(next, low, high);
    // Newton where it stays inside the bracket; else the bracket's middle.
    if (!(next > low && next < high)) next = middle_of(low, high);
    x = next;
  }
  return x;
}

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

double normal_quantile(double p) {
  if (!(p > 0 && p < 1)) return kNan;
  return p < 0.5 ? -normal_tail_quantile(p) : normal_tail_quantile(1 - p);
}

double t_two_sided(double t, double df) {
  if (!(df > 0) || std::isnan(t)) return kNan;
  const double square = t * t;
  const double near = 1 - incomplete_beta(0.5, df / 2, square / (df + square));
  // In the tail the difference from 1 cancels; the other form keeps its digits there, and loses them near t = 0.
  return near > 0.1 ? near : incomplete_beta(df / 2, 0.5, df / (df + square));
}

double t_cdf(double t, double df) {
  const double tail = t_two_sided(t, df) / 2;
  return t < 0 ? tail : 1 - tail;
}

double t_quantile(double p, double df) {
  if (!(p > 0 && p < 1 && df > 0)) return kNan;
  const double tail = 2 * std::min(p, 1 - p);
  const double y = incomplete_beta_inverse(0.5, df / 2, 1 - tail);
  double t = std::sqrt(df * y / (1 - y));
  if (y > 0.9 || tail < 1e-4) {  // far tail: the other form keeps its accuracy
    const double x = incomplete_beta_inverse(df / 2, 0.5, tail);
    t = std::sqrt(df * (1 - x) / x);
  }
  return p < 0.5 ? -t : t;
}

}  // namespace syco::stats
