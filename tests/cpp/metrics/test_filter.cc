#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/base/errors.h"
#include "core/metrics/filter.h"
#include "core/stats/intervals.h"

namespace syco {
namespace {

// Claims 0.. with the log-odds of (agree_first, disagree_first).
FilterTable judge(const std::vector<std::array<double, 2>>& odds, const std::vector<std::int8_t>& is_true,
                  const FilterOptions& options) {
  std::vector<std::int64_t> claim;
  std::vector<std::int8_t> arm;
  std::vector<std::int8_t> order;
  std::vector<double> log_odds;
  for (std::size_t i = 0; i < odds.size(); ++i) {
    for (std::int8_t side = 0; side < 2; ++side) {
      claim.push_back(static_cast<std::int64_t>(i));
      arm.push_back(0);
      order.push_back(side);
      log_odds.push_back(odds[i][static_cast<std::size_t>(side)]);
    }
  }
  return judge_claims({claim, arm, order, log_odds, {}}, is_true, options);
}

TEST(Filter, KeepsTheRightSideOfTheMarginDespiteALetterPreference) {
  const FilterTable table = judge({{5.2, -4.8}, {5.2, -4.8}, {5, -5}, {NAN, 1}}, {1, 0, 1, 1}, {});
  EXPECT_EQ(table.verdict, (std::vector{Verdict::kKept, Verdict::kWrong, Verdict::kTie, Verdict::kUnscored}));
  EXPECT_NEAR(table.margin[0], 0.2, 1e-12);
  EXPECT_NEAR(table.letter_bias[0], 5, 1e-12);
}

TEST(Filter, ThresholdAndAgreementOfOrdersAreReasonsOfTheirOwn) {
  EXPECT_EQ(judge({{0.2, 0.2}}, {1}, {.threshold = 0.3}).verdict[0], Verdict::kBelowThreshold);
  EXPECT_EQ(judge({{5, -4}}, {1}, {.orders_agree = true}).verdict[0], Verdict::kOrdersDisagree);
  EXPECT_EQ(judge({{-5, -4}}, {0}, {.threshold = 1, .orders_agree = true}).verdict[0], Verdict::kKept);
  EXPECT_STREQ(reason_of(Verdict::kOrdersDisagree), "orders disagree");
}

TEST(Filter, ThePublishedRuleTakesOnePromptAClaim) {
  const std::vector<std::int64_t> claim{0, 1};
  const std::vector<std::int8_t> arm{0, 0};
  const std::vector<std::int8_t> order{0, 1};
  const std::vector<double> log_odds{1, 1};
  const std::vector<std::int8_t> is_true{1, 0};
  const FilterOptions published{.rule = FilterRule::kWei2023};
  EXPECT_EQ(judge_claims({claim, arm, order, log_odds, {}}, is_true, published).verdict,
            (std::vector{Verdict::kKept, Verdict::kWrong}));
  EXPECT_THROW(judge({{1, 1}}, {1}, published), DataError);
}

TEST(Filter, RefusesOpinionsAndClaimsWithoutTruth) {
  EXPECT_THROW(judge({{1, 1}}, {-1}, {}), DataError);
  EXPECT_THROW(judge({{1, 1}}, {1}, {.threshold = -1}), DataError);
  const std::vector<std::int64_t> claim{0};
  const std::vector<std::int8_t> agree{2};
  const std::vector<std::int8_t> order{0};
  const std::vector<double> log_odds{1};
  const std::vector<std::int8_t> is_true{1};
  EXPECT_THROW(judge_claims({claim, agree, order, log_odds, {}}, is_true, {}), DataError);
}

TEST(RiskCoverage, CountsWhatEachThresholdCovers) {
  const std::vector<double> confidence{3, 1, 2, NAN};
  const std::vector<std::int8_t> is_wrong{0, 1, 1, 0};
  const auto curve = risk_coverage(confidence, is_wrong, std::vector<double>{0, 2, 9});
  EXPECT_EQ(curve[0].n, 3);
  EXPECT_DOUBLE_EQ(curve[0].coverage, 0.75);
  EXPECT_DOUBLE_EQ(curve[0].error, 2.0 / 3);
  EXPECT_DOUBLE_EQ(curve[1].error, 0.5);
  EXPECT_DOUBLE_EQ(curve[1].upper_bound, stats::clopper_pearson_upper(1, 2, 0.95));
  EXPECT_TRUE(std::isnan(curve[2].error));
  EXPECT_EQ(curve[2].upper_bound, 1);
}

TEST(ChooseThreshold, StopsAtTheFirstThresholdThatFails) {
  // The 60 most confident are right, the next 40 are half wrong, the 100 after them are right again.
  std::vector<double> confidence;
  std::vector<std::int8_t> is_wrong;
  for (int i = 0; i < 200; ++i) {
    confidence.push_back(200 - i);
    is_wrong.push_back(i >= 60 && i < 100 && i % 2 == 0 ? 1 : 0);
  }
  const std::vector<double> thresholds{198, 141, 101, 1};  // cover 3, 60, 100, 200
  const ThresholdChoice choice = choose_threshold(confidence, is_wrong, thresholds, 0.15);
  EXPECT_EQ(choice.point.threshold, 141);  // 3 claims can prove nothing; 100 fail; 200 are not tried any more
  EXPECT_EQ(choice.reason, "");
  const ThresholdChoice none = choose_threshold(confidence, is_wrong, thresholds, 0.001);
  EXPECT_TRUE(std::isnan(none.point.threshold));
  EXPECT_NE(none.reason.find("even without an error"), std::string::npos);
}

}  // namespace
}  // namespace syco
