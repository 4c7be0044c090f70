// Intervals of one rate from independent yes/no outcomes. For outcomes in clusters see clustered.h.
#pragma once

#include <cstdint>

#include "core/stats/estimate.h"

namespace syco::stats {

// Wilson's score interval (Wilson 1927; Newcombe 1998, method 3), without continuity correction.
// n = 0 gives NaN with a reason. Throws DataError unless 0 <= successes <= n and 0 < confidence < 1.
Estimate wilson(std::int64_t successes, std::int64_t n, double confidence = 0.95);

// The exact interval of Clopper and Pearson (1934): covers at least `confidence` for every rate, so it is the one for
// guarantees and for 0 or n successes. Each tail holds (1 - confidence) / 2.
Estimate clopper_pearson(std::int64_t successes, std::int64_t n, double confidence = 0.95);

// Exact one-sided upper bound on a rate: P(rate > bound) <= 1 - confidence. 1 when n = 0.
double clopper_pearson_upper(std::int64_t successes, std::int64_t n, double confidence = 0.95);

// The same for a number of successes that is not whole, such as the sum of the shares of n clusters.
double clopper_pearson_upper(double successes, double n, double confidence);

// The interval of first - second from the intervals of both (MOVER: Newcombe 1998, method 10 without correlation;
// Donner and Zou 2012): each limit combines the two distances that lie on its side. `n` and `num_unscored` are the
// first's; num_clusters is the lesser of the two. NaN, with its reason, where one of them is.
Estimate mover(const Estimate& first, const Estimate& second);

}  // namespace syco::stats
