// The bootstrap, the permutation test and the draws behind them.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "core/errors.h"
#include "core/stats/bootstrap.h"
#include "core/stats/permutation.h"
#include "core/stats/resample.h"

namespace syco::stats {
namespace {

std::vector<std::int64_t> own_clusters(std::size_t n) {
  std::vector<std::int64_t> clusters(n);
  std::iota(clusters.begin(), clusters.end(), 0);
  return clusters;
}

const std::vector<double> kDifferences{1, 0, 0, 1, -1, 0, 1, 1, 0, 0, 0, 1, 0, -1, 1, 0, 0, 1, 0, 0};

TEST(Resample, AWordGivesAsManyIndicesAsFit) {
  EXPECT_EQ(indices_per_word(2), 5);
  EXPECT_EQ(indices_per_word(3000), 5);
  EXPECT_EQ(indices_per_word(30000), 4);
  EXPECT_EQ(indices_per_word(1u << 31), 1);
}

TEST(Resample, IndicesAreUniform) {
  std::vector<double> count(7);
  draw_indices<5>(7, 700'000, {1, 2}, 3, [&](int, std::uint64_t index) { ++count.at(index); });
  double chi_square = 0;
  for (const double c : count) chi_square += (c - 100'000) * (c - 100'000) / 100'000;
  EXPECT_LT(chi_square, 22.46);  // 99.9 % quantile with 6 degrees of freedom
}

TEST(Bootstrap, BcaGoldenOfPairedDifferences) {
  for (const std::uint64_t seed : {0u, 1u, 2u}) {
    const Estimate estimate = bootstrap_mean(kDifferences, own_clusters(20), {.seed = seed});
    EXPECT_NEAR(estimate.low, -0.05, 1e-12);
    EXPECT_NEAR(estimate.high, 0.50, 1e-12);
  }
}

TEST(Bootstrap, GivesTheSameBitsForAnyNumberOfThreads) {
  const RatioTerm term{.numerator = kDifferences, .denominator = std::vector<double>(20, 1.0)};
  const std::vector<double> one = bootstrap_distribution({&term, 1}, {.num_resamples = 500, .num_threads = 1});
  const std::vector<double> three = bootstrap_distribution({&term, 1}, {.num_resamples = 500, .num_threads = 3});
  EXPECT_EQ(one, three);
  const std::vector<double> more = bootstrap_distribution({&term, 1}, {.num_resamples = 600, .num_threads = 1});
  EXPECT_TRUE(std::equal(one.begin(), one.end(), more.begin()));  // resample r depends on (seed, r) alone
}

TEST(Bootstrap, ClustersAreDrawnWhole) {
  // Two clusters, inside which rows differ: a resample's mean is that of (0,0), (0,1) or (1,1), never between.
  const std::vector<double> values{1, 2, 3, 5, 6, 7};
  const std::vector<std::int64_t> clusters{4, 4, 4, 9, 9, 9};
  const ClusterTotals totals = cluster_totals(values, clusters);
  for (const double mean : bootstrap_distribution({&totals.mean, 1}, {.num_resamples = 200})) {
    EXPECT_TRUE(mean == 2 || mean == 4 || mean == 6) << mean;
  }
}

TEST(Bootstrap, ConstantDataAndOneClusterGiveReasons) {
  const std::vector<double> same(5, 0.25);
  EXPECT_NE(bootstrap_mean(same, own_clusters(5)).reason.find("constant data"), std::string::npos);
  EXPECT_NE(bootstrap_mean(same, std::vector<std::int64_t>(5, 1)).reason.find("one cluster"), std::string::npos);
  EXPECT_EQ(bootstrap_mean({}, {}).reason, "no scored rows");
  EXPECT_THROW(bootstrap_mean(same, own_clusters(5), {.num_resamples = 0}), DataError);
}

TEST(SignFlip, EnumeratesSmallSamples) {
  // Three equal differences: of the 8 sign patterns 2 are as extreme.
  EXPECT_DOUBLE_EQ(sign_flip(std::vector<double>{1, 1, 1}, own_clusters(3)), 0.25);
  EXPECT_DOUBLE_EQ(sign_flip(std::vector<double>{1, -1}, own_clusters(2)), 1.0);
  EXPECT_DOUBLE_EQ(sign_flip(std::vector<double>{1, -1}, std::vector<std::int64_t>{5, 5}), 1.0);
  EXPECT_TRUE(std::isnan(sign_flip({}, {})));
}

TEST(SignFlip, DrawsLargeSamplesAlikeForAnyNumberOfThreads) {
  std::vector<double> differences(50, 0.1);
  differences[0] = -3;
  const double one = sign_flip(differences, own_clusters(50), {.num_threads = 1});
  EXPECT_EQ(one, sign_flip(differences, own_clusters(50), {.num_threads = 2}));
  EXPECT_GT(one, 0.01);
  EXPECT_DOUBLE_EQ(sign_flip(std::vector<double>(50, 1.0), own_clusters(50), {.num_permutations = 999}), 1.0 / 1000);
}

}  // namespace
}  // namespace syco::stats
