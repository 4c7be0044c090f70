#include "core/stats/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <numeric>

#include "core/base/clones.h"
#include "core/base/wide_multiply.h"

namespace syco::stats {
namespace {

constexpr std::size_t kBlock = 512;       // counts at once: few calls, and all of a block stays in the first cache
constexpr std::size_t kLanes = 32;        // partial sums of a column: no addition waits for the one before
constexpr std::size_t kFewClusters = 16;  // below, single draws cost less than the counts
// How many standard deviations the total of the counts lies below the number of draws in the mean: each costs single
// draws, which are slower, but with 2 of them one pass of 44 exceeds the number and is in vain.
constexpr double kMargin = 2;

// 16 random bits a count, the lowest of a word first. Returns whether there is a kRest among them.
SYCO_CLONES bool draw_counts(const std::uint64_t* words, std::size_t size, const CountTable& table,
                             std::uint16_t* counts) {
  std::array<std::int16_t, kBlock> bits;
  std::memcpy(bits.data(), words, size * sizeof bits[0]);
  std::uint16_t any = 0;
  for (std::size_t i = 0; i < size; ++i) {
    std::uint16_t count = 0;
    for (const std::int16_t limit : table.limit) count += bits[i] > limit;
    counts[i] = count;
    any |= count;
  }
  return (any & CountTable::kRest) != 0;
}

// Of one block, so that 16 bits hold it.
SYCO_CLONES std::uint16_t total_of(const std::uint16_t* counts, std::size_t size) {
  std::uint16_t total = 0;
  for (std::size_t i = 0; i < size; ++i) total += counts[i];
  return total;
}
static_assert(kBlock * std::tuple_size_v<decltype(CountTable::rest)> < std::size_t{1} << 16);

SYCO_CLONES void add_products(const std::uint16_t* counts, const double* values, std::size_t size, double* sums) {
  std::array<double, kLanes> lanes;
  std::memcpy(lanes.data(), sums, sizeof lanes);
  for (std::size_t i = 0; i < size; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += counts[i + lane] * values[i + lane];
  }
  std::memcpy(sums, lanes.data(), sizeof lanes);
}

std::uint16_t rest_count(const CountTable& table, std::uint64_t bits) {
  return static_cast<std::uint16_t>(std::ranges::upper_bound(table.rest, bits) - table.rest.begin());
}

}  // namespace

CountTable poisson_table(double mean) {
  __extension__ using Wide = unsigned __int128;
  const auto scaled = static_cast<std::uint64_t>(std::ldexp(mean, 32));
  CountTable table;
  std::array<Wide, table.rest.size()> weight;  // mean^k / k!, by 2^90: the next one is 0
  weight[0] = Wide{1} << 90;
  for (std::size_t k = 1; k < weight.size(); ++k) weight[k] = weight[k - 1] * scaled / (Wide{k} << 32);
  const Wide sum = std::accumulate(weight.begin(), weight.end(), Wide{0});
  Wide steps = 0;
  for (std::size_t k = 0; k < table.limit.size(); ++k) {
    steps += (weight[k] << 16) / sum;
    table.limit[k] = static_cast<std::int16_t>(static_cast<int>(steps) - 1 - (1 << 15));
  }
  const Wide left = ((Wide{1} << 16) - steps) * sum;
  Wide reached = 0;
  for (std::size_t k = 0; k < weight.size(); ++k) {
    reached += k < table.limit.size() ? (weight[k] << 16) % sum : weight[k] << 16;
    const Wide share = (reached << 30) / (left >> 34);
    table.rest[k] = static_cast<std::uint64_t>(std::min<Wide>(share, std::numeric_limits<std::uint64_t>::max()));
  }
  return table;
}

Resampler::Resampler(std::span<const std::span<const double>> columns, std::size_t num_clusters)
    : num_clusters_(num_clusters), has_counts_(num_clusters >= kFewClusters) {
  for (const std::span<const double> column : columns) {
    if (std::ranges::adjacent_find(column, std::not_equal_to{}) == column.end()) {
      known_.push_back(column[0] * static_cast<double>(num_clusters));
    } else {
      columns_.push_back({known_.size(), {column.begin(), column.end()}});
      columns_.back().values.resize((num_clusters + kLanes - 1) / kLanes * kLanes);
      known_.push_back(0);
    }
  }
  if (has_counts_) table_ = poisson_table(1 - kMargin / std::sqrt(static_cast<double>(num_clusters)));
}

std::uint64_t Resampler::add_counts(BulkDraws& bulk, Draws& draws, std::span<double> sums) const {
  std::array<std::uint64_t, kBlock / 4> words;
  std::array<std::uint16_t, kBlock> counts;
  std::uint64_t total = 0;
  for (std::size_t first = 0; first < num_clusters_; first += kBlock) {
    const std::size_t num_real = std::min(kBlock, num_clusters_ - first);
    const std::size_t size = (num_real + kLanes - 1) / kLanes * kLanes;
    bulk.fill({words.data(), size / 4});
    const bool has_rest = draw_counts(words.data(), size, table_, counts.data());
    std::fill(counts.begin() + num_real, counts.begin() + size, 0);
    if (has_rest) {
      for (std::size_t i = 0; i < num_real; ++i) {
        if (counts[i] == CountTable::kRest) counts[i] = rest_count(table_, draws.next());
      }
    }
    total += total_of(counts.data(), size);
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      add_products(counts.data(), columns_[i].values.data() + first, size, &sums[i * kLanes]);
    }
  }
  return total;
}

void Resampler::add_draws(BulkDraws& bulk, std::uint64_t num_draws, std::span<double> totals) const {
  std::array<std::uint64_t, kBlock / 4> words;
  const std::uint64_t threshold = -num_clusters_ % num_clusters_;
  while (num_draws > 0) {
    const std::size_t size = std::min<std::size_t>(words.size(), (num_draws + 3) / 4 * 4);
    bulk.fill({words.data(), size});
    for (std::size_t i = 0; i < size && num_draws > 0; ++i) {
      const WideProduct scaled = wide_multiply(words[i], num_clusters_);  // Lemire 2019
      if (scaled.low < threshold) [[unlikely]]
        continue;
      for (const Column& column : columns_) totals[column.place] += column.values[scaled.high];
      --num_draws;
    }
  }
}

std::vector<double> Resampler::totals(Draws draws) const {
  BulkDraws bulk(draws);
  std::vector<double> totals = known_;
  std::uint64_t num_drawn = 0;
  if (has_counts_) {
    std::vector<double> sums;
    do {
      sums.assign(columns_.size() * kLanes, 0.0);
      num_drawn = add_counts(bulk, draws, sums);
    } while (num_drawn > num_clusters_);
    for (std::size_t i = 0; i < sums.size(); ++i) totals[columns_[i / kLanes].place] += sums[i];
  }
  add_draws(bulk, num_clusters_ - num_drawn, totals);
  return totals;
}

}  // namespace syco::stats
