// Golden numbers come from published tables and from two independent programs; see the Python suite for SciPy and
// statsmodels as oracles over wide ranges.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "core/base/errors.h"
#include "core/stats/clustered.h"
#include "core/stats/hypothesis_tests.h"
#include "core/stats/intervals.h"
#include "core/stats/paired.h"
#include "core/stats/permutation.h"
#include "core/stats/power.h"
#include "core/stats/special.h"

namespace syco::stats {
namespace {

TEST(Special, QuantilesInvertTheirDistributionFunctions) {
  for (const double p : {1e-12, 1e-3, 0.3, 0.5, 0.9, 0.999999}) {
    EXPECT_NEAR(normal_cdf(normal_quantile(p)) / p, 1, 1e-12);
    for (const double df : {1.0, 2.0, 4.0, 29.5, 1e5}) EXPECT_NEAR(t_cdf(t_quantile(p, df), df) / p, 1, 1e-9);
  }
  EXPECT_NEAR(t_quantile(0.975, 4), 2.7764451051977987, 1e-13);
  EXPECT_TRUE(std::isnan(t_quantile(1.0, 4)));
  EXPECT_NEAR(incomplete_beta(2, 3, 0.4), 0.5248, 1e-15);  // 6 x^2 - 8 x^3 + 3 x^4
}

TEST(Intervals, WilsonAndClopperPearsonGolden) {
  const Estimate w = wilson(81, 263);
  EXPECT_NEAR(w.low, 0.2552885198782742, 1e-14);
  EXPECT_NEAR(w.high, 0.36620957698280004, 1e-14);
  const Estimate cp = clopper_pearson(81, 263);
  EXPECT_NEAR(cp.low, 0.252736745585, 1e-12);
  EXPECT_NEAR(cp.high, 0.367621922601, 1e-12);
  EXPECT_EQ(wilson(0, 20).low, 0);
  EXPECT_NEAR(wilson(0, 20).high, 0.1611251581, 1e-10);
  EXPECT_NEAR(clopper_pearson(0, 20).high, 0.1684334710, 1e-10);
}

TEST(Intervals, NoRowsGiveAReason) {
  EXPECT_EQ(wilson(0, 0).reason, "no rows");
  EXPECT_TRUE(std::isnan(clopper_pearson(0, 0).low));
  EXPECT_THROW(wilson(3, 2), DataError);
  EXPECT_THROW(wilson(1, 2, 1.0), DataError);
}

TEST(Clustered, Cr1Golden) {
  const std::vector<double> y{1, 1, 0, 0, 1, 0, 1, 1, 0, 1};
  const std::vector<std::int64_t> pairs{0, 0, 1, 1, 2, 2, 3, 3, 4, 4};
  const Estimate estimate = clustered_mean(y, pairs);
  EXPECT_NEAR(estimate.standard_error, 0.187082869338697, 1e-14);
  EXPECT_NEAR(estimate.low, 0.08057468, 1e-8);
  EXPECT_NEAR(estimate.high, 1.11942532, 1e-8);
  EXPECT_EQ(estimate.num_clusters, 5);
  EXPECT_EQ(clustered_mean(y, pairs, 0.95, {-1, 1}).high, 1);  // cut to what a mean can be
}

TEST(Clustered, ARateHasTheIntervalOfKornAndGraubard) {
  const std::vector<double> y{1, 1, 0, 0, 1, 0, 1, 1, 0, 1};
  const std::vector<std::int64_t> pairs{0, 0, 1, 1, 2, 2, 3, 3, 4, 4};
  const Estimate estimate = clustered_mean(y, pairs, 0.95, kRate);  // like 4.552087 independent rows
  EXPECT_NEAR(estimate.standard_error, 0.187082869338697, 1e-14);
  EXPECT_NEAR(estimate.low, 0.13112679474234812, 1e-10);
  EXPECT_NEAR(estimate.high, 0.9551314220596061, 1e-10);
  EXPECT_EQ(estimate.method, "korn-graubard (CR1)");
}

TEST(Clustered, NeverGivesAZeroWidthInterval) {
  const std::vector<double> same{0.5, 0.5, 0.5};
  const std::vector<std::int64_t> apart{0, 1, 2};
  const std::vector<std::int64_t> together{7, 7, 7};
  EXPECT_TRUE(std::isnan(clustered_mean(same, apart).low));
  EXPECT_NE(clustered_mean(same, apart).reason.find("constant data"), std::string::npos);
  EXPECT_NE(clustered_mean(same, together).reason.find("one cluster"), std::string::npos);
  EXPECT_TRUE(std::isnan(clustered_mean({}, {}).value));
}

TEST(Clustered, ConstantRatesGetTheClopperPearsonBound) {
  const std::vector<double> right(20, 1.0);
  std::vector<std::int64_t> claims(20);
  std::iota(claims.begin(), claims.end(), 0);
  const Estimate estimate = clustered_mean(right, claims, 0.95, {0, 1});
  EXPECT_NEAR(estimate.low, clopper_pearson(20, 20).low, 1e-14);
  EXPECT_EQ(estimate.high, 1);
}

std::vector<std::int64_t> own_clusters(std::size_t n) {
  std::vector<std::int64_t> clusters(n);
  std::iota(clusters.begin(), clusters.end(), 0);
  return clusters;
}

// SciPy: t.interval of the 40 changes, +1 and -1.
TEST(Changes, TwoPseudoClaimsLeaveNoCliffAtConstantData) {
  struct Golden {
    int cured;
    double low, high;
  };
  for (const Golden& golden :
       {Golden{40, -1.048549570021018, -0.8562123347408869}, Golden{39, -1.0350370707672318, -0.8221057863756255}}) {
    std::vector<double> before(80, 1), after(80, 0);
    std::vector<std::int64_t> claims(80);
    for (int row = 0; row < 80; ++row) {
      claims[static_cast<std::size_t>(row)] = row / 2;
      if (row / 2 >= golden.cured) after[static_cast<std::size_t>(row)] = 1;
    }
    const Estimate effect = paired_difference(before, after, claims, 0.95, kDifference);  // lies between -2 and 2
    EXPECT_NEAR(effect.low, golden.low, 1e-12);
    EXPECT_NEAR(effect.high, golden.high, 1e-12);
    EXPECT_EQ(effect.num_fell, golden.cured);
    EXPECT_EQ(effect.num_rose, 0);
    EXPECT_EQ(paired_difference(before, after, claims, 0.95, kRate).low, -1);  // cut to what a change can be
  }
}

TEST(Changes, EachClaimLostMakesEquivalenceLessSure) {
  const std::vector<double> before(60, 1);
  std::vector<double> after = before;
  // 0.95^60, and SciPy's t.sf of Tango's score by hand.
  for (const double wanted : {0.046069798986951946, 0.1224004409217844, 0.27959094359300407}) {
    const Estimate change = paired_difference(before, after, own_clusters(60), 0.95, kRate);
    EXPECT_NEAR(tost(change, 0.05), wanted, 1e-12);
    after[static_cast<std::size_t>(change.num_fell)] = 0;
  }
}

TEST(Changes, OnePairAClaimHasTheIntervalOfTango) {
  const std::vector<double> before{1, 1, 0, 0, 1, 1};
  const std::vector<double> after{1, 0, 1, 0, 0, 0};
  const Estimate change = paired_difference(before, after, own_clusters(6), 0.95, kRate);
  const Estimate exact = tango({1, 1, 3, 1});
  EXPECT_EQ(change.low, exact.low);
  EXPECT_EQ(change.high, exact.high);
  EXPECT_EQ(change.method, "tango");
  EXPECT_NEAR(p_value(change), 0.3173105078629141, 1e-12);  // McNemar: 3 against 1, z = 1
  const std::vector<std::int64_t> of_two{0, 0, 1, 1, 2, 2};
  EXPECT_EQ(paired_difference(before, after, of_two, 0.95, kRate).method, "paired cluster-t, two pseudo-claims");
}

TEST(Changes, RangesOfChangesAreTwiceAsWideAndAnswersAreNot) {
  EXPECT_EQ(change_range(kRate), (Range{-1, 1, 1}));
  EXPECT_EQ(change_range(kDifference), (Range{-2, 2, 1}));
  EXPECT_EQ(change_range({-0.5, 0.5, 0.5}), (Range{-1, 1, 0.5}));
  EXPECT_EQ(change_range({}).pseudo, 0);
}

TEST(Mover, JoinsTheDistancesOfTwoIntervals) {
  const Estimate first{.value = 0.5, .low = 0.2, .high = 0.6, .num_clusters = 12};
  const Estimate second{.value = 0.1, .low = 0.05, .high = 0.5, .num_clusters = 28};
  const Estimate difference = mover(first, second);
  EXPECT_NEAR(difference.value, 0.4, 1e-15);
  EXPECT_NEAR(difference.low, 0.4 - 0.5, 1e-15);  // 0.3 and 0.4 make 0.5
  EXPECT_NEAR(difference.high, 0.4 + std::sqrt(0.1 * 0.1 + 0.05 * 0.05), 1e-15);
  EXPECT_EQ(difference.num_clusters, 12);
  EXPECT_GT(p_value(difference), 0.05);  // zero lies inside
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

TEST(Clustered, UnscoredRowsAreCountedAndLeftOut) {
  const double nan = std::nan("");
  const std::vector<double> before{1, 0, 1, nan};
  const std::vector<double> after{0, 0, 0, 1};
  const std::vector<std::int64_t> claims{0, 1, 2, 3};
  const Estimate change = paired_difference(before, after, claims);
  EXPECT_NEAR(change.value, -2.0 / 3, 1e-15);
  EXPECT_EQ(change.num_unscored, 1);
  EXPECT_EQ(change.n, 3);
}

TEST(Tests, ExactMcNemarGolden) {
  EXPECT_NEAR(mcnemar_exact(1, 7), 0.0703125, 1e-15);
  EXPECT_NEAR(mcnemar_exact(12, 2), 0.012939453125, 1e-15);
  EXPECT_NEAR(mcnemar_exact(30, 20), 0.202638751, 1e-9);
  EXPECT_NEAR(mcnemar_exact(5200, 4800) / 6.593515598672341e-05, 1, 1e-10);
  EXPECT_EQ(mcnemar_exact(0, 0), 1);
}

TEST(Tests, HolmGolden) {
  const std::vector<double> adjusted = holm(std::vector<double>{.01, .04, .03, .005});
  const std::vector<double> expected{.03, .06, .06, .02};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(adjusted[i], expected[i], 1e-15);
  EXPECT_NEAR(holm(std::vector<double>{std::nan(""), .01})[1], .01, 1e-15);  // a missing test counts for nothing
}

TEST(Tests, NumbersOutOfRangeAreRefused) {
  EXPECT_THROW(holm(std::vector<double>{0.5, 1.2}), DataError);
  EXPECT_THROW(cohens_h(0.2, -0.1), DataError);
}

TEST(Paired, TangoAndNewcombeGolden) {
  struct Golden {
    PairedTable table;
    double tango_low, tango_high, newcombe_low, newcombe_high;
  };
  for (const Golden& golden : {Golden{{1, 1, 7, 12}, -0.51723228, -0.02600303, -0.50692023, -0.02555912},
                               Golden{{36, 12, 2, 0}, 0.06111241, 0.34470875, 0.05692958, 0.34042760},
                               Golden{{20, 30, 20, 30}, -0.03911781, 0.23522181, -0.03730210, 0.23212305},
                               Golden{{0, 0, 0, 50}, -0.07134760, 0.07134760, -0.07134760, 0.07134760}}) {
    EXPECT_NEAR(tango(golden.table).low, golden.tango_low, 6e-9);
    EXPECT_NEAR(tango(golden.table).high, golden.tango_high, 6e-9);
    EXPECT_NEAR(newcombe(golden.table).low, golden.newcombe_low, 6e-9);
    EXPECT_NEAR(newcombe(golden.table).high, golden.newcombe_high, 6e-9);
  }
}

TEST(Paired, SwappingThePhasesMirrorsTheInterval) {
  for (const PairedTable& table : {PairedTable{1, 1, 7, 12}, PairedTable{0, 9, 0, 0}, PairedTable{5, 0, 0, 5}}) {
    const PairedTable swapped{table.a, table.c, table.b, table.d};
    EXPECT_NEAR(tango(table).low, -tango(swapped).high, 1e-12);
    EXPECT_NEAR(newcombe(table).low, -newcombe(swapped).high, 1e-12);
  }
}

TEST(Power, McNemarSampleSizesGolden) {
  EXPECT_NEAR(mcnemar_sample_size(.15, .10), 782.53, 5e-3);
  EXPECT_NEAR(mcnemar_sample_size(.25, .20), 1410.44, 5e-3);
  EXPECT_NEAR(mcnemar_sample_size(.10, .02), 144.79, 5e-3);
  EXPECT_NEAR(mcnemar_power(mcnemar_sample_size(.10, .02), .10, .02), 0.8, 1e-12);
  EXPECT_THROW(mcnemar_sample_size(.1, .1), DataError);
}

}  // namespace
}  // namespace syco::stats
