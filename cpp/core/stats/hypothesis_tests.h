// Tests and effect sizes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/stats/estimate.h"

namespace syco::stats {

// Exact two-sided McNemar test of b against c discordant pairs: 2 P(X <= min(b, c)), X ~ Binomial(b + c, 1/2), at
// most 1. Summed in log space, so b + c may be large. b + c = 0 gives 1.
double mcnemar_exact(std::int64_t b, std::int64_t c);

// Holm's (1979) step-down adjusted p values, in the order given. NaN stays NaN and counts for nothing. Throws DataError
// outside [0, 1].
std::vector<double> holm(std::span<const double> p_values);

// Cohen's h between two rates: 2 asin(sqrt(p1)) - 2 asin(sqrt(p2)). Throws DataError outside [0, 1].
double cohens_h(double p1, double p2);

// Equivalence by two one-sided tests (Schuirmann 1987): the larger of the p values of value <= -margin and value >=
// margin. Small p: the effect lies inside (-margin, margin). NaN where the estimate has no standard error. By t; but of
// differences and changes of answers, which have pseudo-claims, by Tango's score at -margin and at margin:
// - a t test takes the variance that was seen, which is too small where few claims are lost by luck. The score takes
//   that of the nearest data with the true change -margin;
// - clusters of several answers count as so many whole rises and falls as have their mean and their mean square;
// - it is compared with t of G - 1 degrees of freedom, with the variance over G - 1;
// - p is never less than (1 - margin)^G, the chance that no claim of G is lost.
// Throws DataError unless margin > 0, and less than one whole answer where the data are answers.
double tost(const Estimate& estimate, double margin);

}  // namespace syco::stats
