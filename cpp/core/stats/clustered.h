// Estimates from rows that come in clusters: the unit is the claim (or question), never the prompt.
//
// Every metric here is a sum of signed ratios, value = sum_k sign_k * N_k / D_k, with N_k and D_k summed over units; a
// mean is the ratio of a sum and a count. Its clustered variance is CR1 on the linearised (influence) values
//   u_g = sum_k sign_k * (n_gk - r_k d_gk) / D_k,   V = G/(G-1) * sum_g u_g^2,
// with a t quantile of G - 1 degrees of freedom (Liang and Zeger 1986; Cameron and Miller 2015, sections II and VI),
// but for rates, see bound_rate. For a mean this is statsmodels' OLS on a constant with cov_type="cluster", use_t=True.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "core/stats/estimate.h"

namespace syco::stats {

// The values that a single unit can take. A finite range lets constant data have an interval, and cuts intervals to it;
// kRate says that the mean is a rate.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool operator==(const Range&) const = default;
};
inline constexpr Range kRate{0, 1};

// One signed ratio: numerator and denominator per unit. Units that do not take part hold 0 and 0.
struct RatioTerm {
  double sign = 1;
  std::vector<double> numerator{};
  std::vector<double> denominator{};
};

// A statistic with the influence of each unit on it. `member[u]` is 0 where unit u did not take part.
struct Linearised {
  double value = kNan;
  std::vector<double> influence{};
  std::vector<std::uint8_t> member{};
  std::int64_t num_term_units = 0;  // fewest units behind any one term, for the constant-data bound; 0 = none
};

// All terms must have the same number of units. A term without units gives value NaN.
Linearised linearise(std::span<const RatioTerm> terms);

// after - before, unit by unit: the paired comparison, whatever the statistic. Both must have the same units.
Linearised difference(const Linearised& after, const Linearised& before);

// The clustered t interval of a linearised statistic; cluster[u] >= 0 is any code of unit u's cluster.
// No unit, or one cluster: NaN with a reason. No variation between clusters: where `range` is finite, a bound from
// Clopper and Pearson (if all of G units hold one value, at most a share 1 - (alpha/2)^(1/G) of the population differs
// from it, by at most the range); else NaN with a reason. Never a zero-width interval.
Estimate cluster_t(const Linearised& statistic, std::span<const std::int64_t> cluster, double confidence,
                   Range range = {});

// Gives a rate between 0 and 1, cluster_t's estimate of `n` rows, the interval of Korn and Graubard (1998): Clopper and
// Pearson's of as many independent rows, not a whole number, as would have its standard error, fewer for the degrees of
// freedom that it lacks. A t interval is too narrow where few clusters differ from 0 or 1. What has no standard error,
// or that of more than a million independent rows, as a mean of probabilities may, stays as it is. Oracle:
// svyciprop(method = "beta") of R's package survey, by scipy.stats.beta. Metrics count prompts as rows, so that a ratio
// of pairs is a little wider than one of as many single rows.
void bound_rate(Estimate& estimate);

// Rows summed by cluster: the mean as a ratio whose units are the clusters with a scored row.
struct ClusterTotals {
  RatioTerm mean{};
  std::int64_t num_unscored = 0;
};
ClusterTotals cluster_totals(std::span<const double> values, std::span<const std::int64_t> clusters);

// Mean of rows in clusters, whose interval is bound_rate's if `range` is kRate. NaN and infinite rows are unscored:
// counted and left out.
Estimate clustered_mean(std::span<const double> values, std::span<const std::int64_t> clusters,
                        double confidence = 0.95, Range range = {});

// Mean of after - before over rows scored in both; rows are paired by position. `range` is that of a single row.
Estimate paired_difference(std::span<const double> before, std::span<const double> after,
                           std::span<const std::int64_t> clusters, double confidence = 0.95, Range range = {});

// Whether the interval is the bound of constant data.
bool has_constant_bound(const Estimate& estimate);

// One-sided p value that the truth lies `distance` or farther from constant data, on the side of `bound`, the
// estimate's low or high: (1 - distance / room)^G, with the room from the data to the limit of what a unit can be.
double constant_tail(const Estimate& estimate, double bound, double distance);

// Two-sided p value that the statistic is zero: t with G - 1 degrees of freedom, whatever the interval. For constant
// data, that of their bound. NaN where the estimate has no interval.
double p_value(const Estimate& estimate);

}  // namespace syco::stats
