// A permutation test for paired differences in clusters.
#pragma once

#include <cstdint>
#include <span>

namespace syco::stats {

struct SignFlipOptions {
  std::int64_t num_permutations = 10000;
  std::uint64_t seed = 0;
  int num_threads = 0;  // 0: one a core; the result does not depend on it
};

// Two-sided p value that the differences are symmetric about zero, which is more than a mean of zero: many small gains
// and few large losses are not symmetric. The sign of a whole cluster's sum is flipped. All
// 2^G flips for G <= 20 clusters, else random ones, p = (1 + as extreme) / (1 + num_permutations) (Phipson and Smyth
// 2010). Non-finite differences are left out; no cluster gives NaN. Oracle: scipy.stats.permutation_test, type
// "samples".
double sign_flip(std::span<const double> differences, std::span<const std::int64_t> clusters,
                 const SignFlipOptions& options = {});

}  // namespace syco::stats
