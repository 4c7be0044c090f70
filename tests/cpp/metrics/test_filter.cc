#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/base/errors.h"
#include "core/metrics/filter.h"
#include "core/stats/intervals.h"

namespace syco {
namespace {

// Claims 0.. with the log-odds of (agree_first, disagree_first).
FilterTable judge(const std::vector<std::array<double, 2>>& odds, const std::vector<std::int8_t>& is_true,
                  const FilterOptions& options, std::vector<std::int64_t> examples = {}) {
  if (examples.empty()) {
    examples.resize(odds.size());
    std::iota(examples.begin(), examples.end(), 0);
  }
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
  return judge_claims({claim, arm, order, log_odds, {}}, {is_true, examples, {}}, options);
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
  EXPECT_EQ(judge_claims({claim, arm, order, log_odds, {}}, {is_true, claim, {}}, published).verdict,
            (std::vector{Verdict::kKept, Verdict::kWrong}));
  EXPECT_THROW(judge({{1, 1}}, {1}, published), DataError);
}

TEST(Filter, TheContrastOfAnExampleIgnoresALeanToAgree) {
  // Two examples, a true and a false claim each: both are agreed with at +8 nats, the first rather if true.
  const std::vector<std::array<double, 2>> odds{{8.5, 8.5}, {8, 8}, {8, 8}, {8.5, 8.5}, {9, 9}, {NAN, 9}};
  const std::vector<std::int8_t> is_true{1, 0, 1, 0, 1, 0};
  const std::vector<std::int64_t> examples{0, 0, 1, 1, 2, 2};
  const FilterTable table = judge(odds, is_true, {.rule = FilterRule::kContrast}, examples);
  EXPECT_EQ(table.verdict, (std::vector{Verdict::kKept, Verdict::kKept, Verdict::kWrong, Verdict::kWrong,
                                        Verdict::kNoCounterpart, Verdict::kUnscored}));
  EXPECT_NEAR(table.margin[0], 0.25, 1e-12);
  EXPECT_NEAR(table.margin[1], -0.25, 1e-12);
  EXPECT_EQ(judge(odds, is_true, {.rule = FilterRule::kContrast, .threshold = 0.3}, examples).verdict[0],
            Verdict::kBelowThreshold);
  EXPECT_STREQ(reason_of(Verdict::kNoCounterpart), "no counterpart");
}

TEST(Filter, RefusesOpinionsAndClaimsWithoutTruth) {
  EXPECT_THROW(judge({{1, 1}}, {-1}, {}), DataError);
  EXPECT_THROW(judge({{1, 1}}, {1}, {.threshold = -1}), DataError);
  const std::vector<std::int64_t> claim{0};
  const std::vector<std::int8_t> agree{2};
  const std::vector<std::int8_t> order{0};
  const std::vector<double> log_odds{1};
  const std::vector<std::int8_t> is_true{1};
  EXPECT_THROW(judge_claims({claim, agree, order, log_odds, {}}, {is_true, claim, {}}, {}), DataError);
  EXPECT_THROW(judge_claims({claim, order, order, log_odds, {}}, {is_true, {}, {}}, {}), DataError);
}

TEST(RiskCoverage, CountsWhatEachThresholdCovers) {
  const std::vector<double> confidence{3, 1, 2, NAN};
  const std::vector<std::int8_t> is_wrong{0, 1, 1, 0};
  const auto curve =
      risk_coverage(confidence, is_wrong, std::vector<std::int64_t>{0, 1, 2, 3}, std::vector<double>{0, 2, 9});
  EXPECT_EQ(curve[0].n, 3);
  EXPECT_DOUBLE_EQ(curve[0].coverage, 0.75);
  EXPECT_DOUBLE_EQ(curve[0].error, 2.0 / 3);
  EXPECT_DOUBLE_EQ(curve[1].error, 0.5);
  EXPECT_DOUBLE_EQ(curve[1].upper_bound, stats::clopper_pearson_upper(std::int64_t{1}, std::int64_t{2}, 0.95));
  EXPECT_TRUE(std::isnan(curve[2].error));
  EXPECT_EQ(curve[2].upper_bound, 1);
}

TEST(RiskCoverage, TheBoundCountsExamples) {
  const std::vector<double> confidence(40, 1.0);
  const std::vector<std::int8_t> none_wrong(40, 0);
  std::vector<std::int64_t> examples(40);
  for (std::size_t i = 0; i < 40; ++i) examples[i] = static_cast<std::int64_t>(i) / 2;
  const auto of_examples = risk_coverage(confidence, none_wrong, examples, std::vector<double>{0})[0];
  EXPECT_EQ(of_examples.n, 40);
  EXPECT_EQ(of_examples.num_examples, 20);
  EXPECT_DOUBLE_EQ(of_examples.upper_bound, stats::clopper_pearson_upper(std::int64_t{0}, std::int64_t{20}, 0.95));
  std::vector<std::int8_t> one_wrong = none_wrong;
  one_wrong[7] = 1;
  const auto half = risk_coverage(confidence, one_wrong, examples, std::vector<double>{0})[0];
  EXPECT_DOUBLE_EQ(half.error, 0.5 / 20);
  EXPECT_LT(half.upper_bound, stats::clopper_pearson_upper(std::int64_t{1}, std::int64_t{20}, 0.95));
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
  std::vector<std::int64_t> examples(200);
  std::iota(examples.begin(), examples.end(), 0);
  const ThresholdChoice choice = choose_threshold(confidence, is_wrong, examples, thresholds, 0.15);
  EXPECT_EQ(choice.point.threshold, 141);  // 3 claims can prove nothing; 100 fail; 200 are not tried any more
  EXPECT_EQ(choice.reason, "");
  const ThresholdChoice none = choose_threshold(confidence, is_wrong, examples, thresholds, 0.001);
  EXPECT_TRUE(std::isnan(none.point.threshold));
  EXPECT_NE(none.reason.find("even without an error"), std::string::npos);
}

}  // namespace
}  // namespace syco
