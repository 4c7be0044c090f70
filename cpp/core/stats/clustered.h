// Estimates from rows that come in clusters: the unit is the claim (or question), never the prompt.
//
// Every metric here is a ratio N / D, with N and D summed over units; a mean is the ratio of a sum and a count. Its
// clustered variance is CR1 on the linearised (influence) values
//   u_g = (n_g - r d_g) / D,   V = G/(G-1) * sum_g u_g^2,
// with a t quantile of G - 1 degrees of freedom (Liang and Zeger 1986; Cameron and Miller 2015, sections II and VI).
// For a mean this is statsmodels' OLS on a constant with cov_type="cluster", use_t=True.
//
// Rates and differences of answers have intervals of their own, since t intervals are too narrow where few clusters
// differ, and undefined where none does:
// - a rate has that of Korn and Graubard, see bound_rate;
// - a difference, or a change, has the t interval of G + 2 clusters: two pseudo-claims are added, whose values are +1
//   and -1 (Agresti and Min 2005, Bonett and Price 2012, by clusters). Where the cluster values are x_g = r + G u_g,
//     mean = G r / (G + 2),   V = [sum (x_g - mean)^2 + (1 - mean)^2 + (-1 - mean)^2] / ((G + 1)(G + 2)),
//   with G + 1 degrees of freedom. The estimate's value stays r.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "core/stats/estimate.h"

namespace syco::stats {

// The values that a single unit can take. Intervals are cut to a finite range; kRate says that the mean is a rate.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  double pseudo = 0;  // size of the pseudo-claims' values: one whole answer; 0: none are added
  bool operator==(const Range&) const = default;
};
inline constexpr Range kRate{0, 1};
inline constexpr Range kDifference{-1, 1, 1};

// The range of after - before. A pseudo-claim still changes by one answer: 1 for rates and for their differences.
Range change_range(Range range);

// Numerator and denominator per unit. Units that do not take part hold 0 and 0.
struct Ratio {
  std::vector<double> numerator{};
  std::vector<double> denominator{};
};

// A statistic with the influence of each unit on it. `member[u]` is 0 where unit u did not take part.
struct Linearised {
  double value = kNan;
  std::vector<double> influence{};
  std::vector<std::uint8_t> member{};
  std::vector<double> unit_value{};  // of each unit by itself, NaN where it has none; empty: nobody knows
  std::int64_t num_units = 0;        // that took part, of a change in the phase that has fewer; 0: no mean over units
};

// A ratio whose denominators add up to 0 has value NaN.
Linearised linearise(const Ratio& ratio);

// after - before, unit by unit: the paired comparison, whatever the statistic. Both must have the same units.
Linearised difference(const Linearised& after, const Linearised& before);

// The interval of a linearised statistic; cluster[u] >= 0 is any code of unit u's cluster. By t, with pseudo-claims
// where `range` has them and the statistic is a mean over units. No unit, or one cluster: NaN with a reason. No
// variation between clusters and no pseudo-claims: for a finite range a bound from Clopper and Pearson (if all of G
// units hold one value, at most a share 1 - (alpha/2)^(1/G) of the population differs from it, by at most the range);
// else NaN with a reason. Never a zero-width interval.
Estimate cluster_t(const Linearised& statistic, std::span<const std::int64_t> cluster, double confidence,
                   Range range = {});

// Gives a rate between 0 and 1, cluster_t's estimate of `n` rows, the interval of Korn and Graubard (1998): Clopper and
// Pearson's of as many independent rows, not a whole number, as would have its standard error, fewer for the degrees of
// freedom that it lacks. A t interval is too narrow where few clusters differ from 0 or 1. What has no standard error,
// or that of more than a million independent rows, as a mean of probabilities may, stays as it is. Oracle:
// svyciprop(method = "beta") of R's package survey, by scipy.stats.beta. Metrics count prompts as rows, so that a ratio
// of pairs is a little wider than one of as many single rows.
void bound_rate(Estimate& estimate);

// The interval of after - before, both of the same rate or mean in the range of one phase. Where every cluster has one
// pair of yes/no answers (`num_rows` pairs in all), it is Tango's, with the standard error of the pseudo-claims.
Estimate paired_change(const Linearised& after, const Linearised& before, std::span<const std::int64_t> cluster,
                       double confidence, Range range, std::int64_t num_rows);

// Rows summed by cluster: the mean as a ratio whose units are the clusters with a scored row.
struct ClusterTotals {
  Ratio mean{};
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

// What a t test looks at: the mean with pseudo-claims where they were added, its standard error, its degrees of
// freedom.
struct TStatistic {
  double mean;
  double standard_error;
  double df;
};
TStatistic t_statistic(const Estimate& estimate);

// Two-sided p value that the statistic is zero. It lies below 1 - confidence where the interval excludes zero: by t, by
// Tango's score at zero (McNemar's statistic), or of an interval without a standard error by its half on the side of
// zero. NaN where the estimate has no interval, and for rates without variation.
double p_value(const Estimate& estimate);

}  // namespace syco::stats
