#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/generation/wrong_labels.h"

namespace syco {
namespace {

constexpr std::uint64_t kNumDraws = 200'000;

// Of kNumDraws wrong labels of each gold label, the share of each label: rows are gold labels.
std::vector<std::vector<double>> shares_drawn(const std::vector<std::uint64_t>& counts) {
  const WrongLabels wrong_labels(counts);
  std::vector<std::vector<double>> shares;
  for (std::size_t gold = 0; gold < counts.size(); ++gold) {
    std::vector<double>& row = shares.emplace_back(counts.size());
    for (std::uint64_t i = 0; i < kNumDraws; ++i) {
      row[wrong_labels.draw(gold, Rng{gold}.at(Stream::kTest, i))] += 1.0 / kNumDraws;
    }
  }
  return shares;
}

// The twin: a table with zeros on the diagonal, whose row and column sums are the counts, by proportional fitting.
std::vector<std::vector<double>> fitted_shares(const std::vector<std::uint64_t>& counts) {
  const std::size_t size = counts.size();
  std::vector<std::vector<double>> table(size, std::vector<double>(size, 1));
  for (std::size_t i = 0; i < size; ++i) table[i][i] = 0;
  for (int step = 0; step < 20'000; ++step) {
    for (std::size_t j = 0; j < size; ++j) {
      double sum = 0;
      for (std::size_t i = 0; i < size; ++i) sum += table[i][j];
      for (std::size_t i = 0; i < size; ++i) table[i][j] *= static_cast<double>(counts[j]) / sum;
    }
    for (std::size_t i = 0; i < size; ++i) {
      const double sum = std::accumulate(table[i].begin(), table[i].end(), 0.0);
      for (double& cell : table[i]) cell *= static_cast<double>(counts[i]) / sum;
    }
  }
  for (std::size_t i = 0; i < size; ++i) {
    for (double& cell : table[i]) cell /= static_cast<double>(counts[i]);
  }
  return table;
}

class BalancedLabels : public testing::TestWithParam<std::vector<std::uint64_t>> {};

TEST_P(BalancedLabels, AreStatedWronglyAsOftenAsTheyAreRight) {
  const std::vector<std::uint64_t>& counts = GetParam();
  const auto shares = shares_drawn(counts);
  const auto fitted = fitted_shares(counts);
  for (std::size_t gold = 0; gold < counts.size(); ++gold) {
    for (std::size_t stated = 0; stated < counts.size(); ++stated) {
      const double wanted = fitted[gold][stated];
      const double deviation = std::sqrt(std::max(wanted * (1 - wanted), 1e-5) / kNumDraws);
      EXPECT_NEAR(shares[gold][stated], wanted, 5 * deviation) << gold << " " << stated;
    }
    EXPECT_EQ(shares[gold][gold], 0);
  }
}
INSTANTIATE_TEST_SUITE_P(Counts, BalancedLabels,
                         testing::Values(std::vector<std::uint64_t>{1, 1}, std::vector<std::uint64_t>{7, 7, 7, 7},
                                         std::vector<std::uint64_t>{119, 115, 16},
                                         std::vector<std::uint64_t>{49, 26, 25}, std::vector<std::uint64_t>{1, 30, 30},
                                         std::vector<std::uint64_t>{86, 1250, 1162, 1223, 896, 835}));

TEST(WrongLabels, AreTheMostFrequentOneWhereThatHasMostExamples) {
  for (const std::vector<std::uint64_t>& counts : {std::vector<std::uint64_t>{10, 60, 30}, {10, 40, 30}}) {
    const auto shares = shares_drawn(counts);
    EXPECT_NEAR(shares[0][1], 1, 1e-3);
    EXPECT_NEAR(shares[2][1], 1, 1e-3);
    EXPECT_NEAR(shares[1][0], 0.25, 0.005);
    EXPECT_NEAR(shares[1][2], 0.75, 0.005);
  }
}

TEST(WrongLabels, AreNeverLabelsThatDoNotOccur) {
  const auto shares = shares_drawn({5, 0, 4, 3});
  for (const std::size_t gold : {0, 2, 3}) EXPECT_EQ(shares[gold][1], 0);
  EXPECT_EQ(shares[0][0], 0);
}

TEST(WrongLabels, AreDrawnAlikeWhereOneLabelOccurs) {
  const auto shares = shares_drawn({0, 5, 0});
  EXPECT_NEAR(shares[1][0], 0.5, 0.005);
  EXPECT_NEAR(shares[1][2], 0.5, 0.005);
}

TEST(WrongLabels, CanBeDrawnOfSingleExamplesAmongMillions) {
  const auto shares = shares_drawn({3'000'000'000, 1, 1});
  EXPECT_NEAR(shares[0][1], 0.5, 0.005);
  EXPECT_NEAR(shares[0][2], 0.5, 0.005);
  EXPECT_NEAR(shares[1][0], 1, 1e-3);
  EXPECT_NEAR(shares[2][0], 1, 1e-3);
}

}  // namespace
}  // namespace syco
