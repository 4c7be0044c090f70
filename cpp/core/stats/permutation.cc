#include "core/stats/permutation.h"

#include <atomic>
#include <bit>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "core/base/errors.h"
#include "core/base/rng.h"
#include "core/base/threads.h"
#include "core/stats/clustered.h"

namespace syco::stats {
namespace {

constexpr std::size_t kMostEnumerated = 20;
constexpr std::int64_t kMostPermutations = 100'000'000;

// Every sign pattern once, in Gray order: each step flips one sign. Half of them suffice: the other half mirrors it.
double enumerate(std::vector<double> sums, double limit) {
  double total = std::accumulate(sums.begin(), sums.end(), 0.0);
  const std::uint64_t patterns = std::uint64_t{1} << (sums.size() - 1);
  std::uint64_t extreme = 0;
  for (std::uint64_t pattern = 0; pattern < patterns; ++pattern) {
    if (pattern > 0) {
      double& flipped = sums[static_cast<std::size_t>(std::countr_zero(pattern))];
      total -= 2 * flipped;
      flipped = -flipped;
    }
    if (std::abs(total) >= limit) ++extreme;
  }
  return static_cast<double>(extreme) / static_cast<double>(patterns);
}

double flipped_total(std::span<const double> sums, Draws draws) {
  double total = 0;
  std::uint64_t bits = 0;
  for (std::size_t cluster = 0; cluster < sums.size(); ++cluster) {
    if (cluster % 64 == 0) bits = draws.next();
    total += (bits & 1) ? sums[cluster] : -sums[cluster];
    bits >>= 1;
  }
  return total;
}

}  // namespace

double sign_flip(std::span<const double> differences, std::span<const std::int64_t> clusters,
                 const SignFlipOptions& options) {
  require(options.num_permutations > 0 && options.num_permutations <= kMostPermutations,
          "sign_flip: num_permutations must be from 1 to " + std::to_string(kMostPermutations) + ", got " +
              std::to_string(options.num_permutations));
  const std::vector<double> sums = cluster_totals(differences, clusters).mean.numerator;
  if (sums.empty()) return kNan;
  double size = 0;
  for (const double sum : sums) size += std::abs(sum);
  // Totals that differ by rounding alone count as equal.
  const double limit = std::abs(std::accumulate(sums.begin(), sums.end(), 0.0)) - 1e-12 * size;
  if (sums.size() <= kMostEnumerated) return enumerate(sums, limit);
  const Rng rng{options.seed};
  std::atomic<std::int64_t> extreme = 0;
  for_each_index(options.num_permutations, options.num_threads, [&](IndexQueue& queue) {
    while (const auto index = queue.next()) {
      if (std::abs(flipped_total(sums, rng.at(Stream::kSignFlips, static_cast<std::uint64_t>(*index)))) >= limit)
        ++extreme;
    }
  });
  return static_cast<double>(1 + extreme) / static_cast<double>(1 + options.num_permutations);
}

}  // namespace syco::stats
