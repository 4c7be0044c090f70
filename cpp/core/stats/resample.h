// What the clusters of a bootstrap resample sum to, without drawing them one by one.
//
// How often G draws meet each of G clusters is multinomial. So are independent Poisson counts of one mean, once their
// total is given; hence every cluster gets such a count, of a mean a little below 1, and the draws that are then still
// missing are made one by one. Where the total exceeds G, all counts are drawn anew (Brown and Bromberg 1984, "An
// efficient two-stage procedure for generating random variates from the multinomial distribution"). Counts come in one
// pass over memory in order, which vectorises; draws would jump about.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/rng.h"
#include "core/stats/bulk_draws.h"

namespace syco::stats {

// Turns random bits into Poisson counts, exactly but for 2^-60. A count is the number of limits that 16 bits, as a
// signed number, exceed. kRest stands for all that 16 bits cannot tell apart; the count is then the number of shares in
// `rest` that 64 more bits, as a fraction, reach.
struct CountTable {
  static constexpr std::uint16_t kRest = 8;

  std::array<std::int16_t, kRest> limit{};
  std::array<std::uint64_t, 27> rest{};  // times 2^64
};

// The table for `mean`, in [0.1, 1), rounded down to a multiple of 2^-32.
CountTable poisson_table(double mean);

class Resampler {
 public:
  // Every column holds a value for each of `num_clusters` > 0 clusters.
  Resampler(std::span<const std::span<const double>> columns, std::size_t num_clusters);

  // The total of every column over as many draws with replacement as there are clusters. The same bits on every
  // processor. Seeds BulkDraws from `draws`, and takes the bits of each kRest from what follows there.
  std::vector<double> totals(Draws draws) const;

 private:
  // Adds one pass of counts to `sums`, and returns how many draws they stand for.
  std::uint64_t add_counts(BulkDraws& bulk, Draws& draws, std::span<double> sums) const;
  // Adds single draws to `totals`.
  void add_draws(BulkDraws& bulk, std::uint64_t num_draws, std::span<double> totals) const;

  struct Column {
    std::size_t place;           // among the totals
    std::vector<double> values;  // padded with zeros, so that blocks are whole
  };

  std::size_t num_clusters_;
  std::vector<Column> columns_;  // those whose values differ
  std::vector<double> known_;    // the totals of the others, 0 for those in columns_
  CountTable table_{};
  bool has_counts_ = false;  // false: so few clusters that all are drawn one by one
};

}  // namespace syco::stats
