// The bootstrap, the permutation test and the draws behind them.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/base/errors.h"
#include "core/base/rng.h"
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

// Python: Decimal(-0.5).exp() * 0.5**k / k!, times 65536; `rest` is the running sum of what floor() cut off.
TEST(Resampler, TableHoldsThePoissonDistribution) {
  const CountTable table = poisson_table(0.5);
  const std::vector<int> steps{39749, 59623, 64591, 65419, 65522, 65532, 65532, 65532};
  for (std::size_t k = 0; k < steps.size(); ++k) EXPECT_EQ(table.limit[k] + 32769, steps[k]) << k;
  const std::vector<double> shares{0.1483287317860, 0.3474930976790, 0.5222841891523, 0.5514160377311, 0.6800575188035,
                                   0.7679216669107, 0.9835770125863, 0.9989809658489, 0.9999437129278, 0.9999971988766};
  for (std::size_t k = 0; k < shares.size(); ++k)
    EXPECT_NEAR(static_cast<double>(table.rest[k]) * 0x1.0p-64, shares[k], 1e-12) << k;
}

// The counts of one cluster are Binomial(G, 1/G), and all counts of a resample add up to G.
TEST(Resampler, ClustersAreDrawnAsOftenAsInABinomialDistribution) {
  for (const std::size_t num_clusters : {8U, 40U, 600U}) {
    std::vector<double> one(num_clusters, 0.0);
    one[num_clusters - 1] = 1;
    std::vector<double> others(num_clusters, 1.0);
    others[num_clusters - 1] = 0;
    const std::vector<std::span<const double>> columns{one, others};
    const Resampler resampler(columns, num_clusters);
    constexpr std::uint64_t kResamples = 40'000;
    std::array<double, 6> found{};
    for (std::uint64_t i = 0; i < kResamples; ++i) {
      const std::vector<double> totals = resampler.totals(Rng{9}.at(Stream::kTest, i));
      ASSERT_EQ(totals[0] + totals[1], num_clusters);
      ++found[std::min<std::size_t>(5, static_cast<std::size_t>(totals[0]))];
    }
    const auto g = static_cast<double>(num_clusters);
    double probability = std::pow(1 - 1 / g, g);
    auto left = static_cast<double>(kResamples);
    double chi_square = 0;
    for (std::size_t k = 0; k < found.size(); ++k) {
      const double wanted = k + 1 < found.size() ? static_cast<double>(kResamples) * probability : left;
      chi_square += (found[k] - wanted) * (found[k] - wanted) / wanted;
      left -= wanted;
      probability *= (g - static_cast<double>(k)) / (static_cast<double>(k) + 1) / (g - 1);
    }
    EXPECT_LT(chi_square, 20.52) << num_clusters;  // 99.9 % quantile with 5 degrees of freedom
  }
}

TEST(Resampler, AColumnOfOneValueNeedsNoDraws) {
  const std::vector<double> same(33, 0.5);
  std::vector<double> nearly = same;
  nearly[32] = 0.75;
  const std::vector<std::span<const double>> columns{same, nearly};
  const std::vector<double> totals = Resampler(columns, 33).totals(Rng{1}.at(Stream::kTest, 0));
  EXPECT_EQ(totals[0], 16.5);
  EXPECT_GE(totals[1], 16.5);
}

// The exact distribution, by convolution: the BCa limits are its quantiles at 0.0222 and 0.9720, where its steps end at
// 0.0248 and 0.9781. As many resamples as tell these apart.
TEST(Bootstrap, BcaGoldenOfPairedDifferences) {
  for (const std::uint64_t seed : {0u, 1u, 2u}) {
    const Estimate estimate = bootstrap_mean(kDifferences, own_clusters(20), {.num_resamples = 100'000, .seed = seed});
    EXPECT_NEAR(estimate.low, -0.05, 1e-12);
    EXPECT_NEAR(estimate.high, 0.50, 1e-12);
  }
}

TEST(Bootstrap, GivesTheSameBitsForAnyNumberOfThreads) {
  RatioTerm term;
  for (int i = 0; i < 700; ++i) {
    term.numerator.push_back(std::sin(i));
    term.denominator.push_back(1 + i % 3);
  }
  const std::vector<double> one = bootstrap_distribution({&term, 1}, {.num_resamples = 500, .num_threads = 1});
  for (const int threads : {2, 3}) {
    EXPECT_EQ(one, bootstrap_distribution({&term, 1}, {.num_resamples = 500, .num_threads = threads}));
  }
  const std::vector<double> more = bootstrap_distribution({&term, 1}, {.num_resamples = 600, .num_threads = 1});
  EXPECT_TRUE(std::equal(one.begin(), one.end(), more.begin()));  // resample r depends on (seed, r) alone
}

TEST(Bootstrap, AllRatiosShareTheDraws) {
  RatioTerm term;
  for (int i = 0; i < 50; ++i) {
    term.numerator.push_back(i * i);
    term.denominator.push_back(1 + i % 3);
  }
  const BootstrapOptions options{.num_resamples = 50};
  const std::vector<double> one = bootstrap_distribution({&term, 1}, options);
  const std::vector<double> sum = bootstrap_distribution(std::vector<RatioTerm>(3, term), options);
  RatioTerm minus = term;
  minus.sign = -1;
  const std::vector<double> zero = bootstrap_distribution(std::vector<RatioTerm>{term, minus}, options);
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_DOUBLE_EQ(sum[i], 3 * one[i]);
    EXPECT_EQ(zero[i], 0);
  }
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
