#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "core/base/errors.h"
#include "core/generation/addition.h"
#include "makers/tables.h"

namespace syco {
namespace {

struct Sum {
  std::int64_t x, y, stated, gold;
  bool is_true;
};

std::vector<Sum> sums_of(const BatchTable& batches) {
  const ArrowTable table = imported(batches);
  const auto texts = table.strings("text");
  const auto golds = table.strings("gold_label");
  const auto is_true = table.integers("is_true");
  std::vector<Sum> sums;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string text(texts[i]);
    const std::size_t plus = text.find(" + ");
    const std::size_t equals = text.find(" = ");
    sums.push_back({std::stoll(text.substr(0, plus)), std::stoll(text.substr(plus + 3, equals - plus - 3)),
                    std::stoll(text.substr(equals + 3)), std::stoll(std::string(golds[i])), is_true[i] != 0});
  }
  return sums;
}

TEST(Additions, ThePublishedGridIsEveryPairOnceInOrderAndFarOff) {
  const std::vector<Sum> sums = sums_of(make_additions({1, 50, 0.0, {SumError::kFar}, 10}, 2500, 0));
  ASSERT_EQ(sums.size(), 2500U);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const auto [x, y, stated, gold, is_true] = sums[i];
    EXPECT_EQ(x, static_cast<std::int64_t>(i) / 50 + 1);
    EXPECT_EQ(y, static_cast<std::int64_t>(i) % 50 + 1);
    EXPECT_EQ(gold, x + y);
    EXPECT_FALSE(is_true);
    EXPECT_TRUE(100'000 * (x + y) <= stated && stated < 1'000'000 * (x + y)) << stated;
  }
}

TEST(Additions, OursAreHalfTrueAndTheFalseHalfNearHalfFar) {
  int num_true = 0;
  int num_near = 0;
  std::set<std::pair<std::int64_t, std::int64_t>> pairs;
  for (const auto& [x, y, stated, gold, is_true] :
       sums_of(make_additions({-20, 70, 0.5, {SumError::kNear, SumError::kFar}, 3}, 1001, 9))) {
    EXPECT_EQ(gold, x + y);
    EXPECT_EQ(is_true, stated == gold);
    EXPECT_TRUE(-20 <= std::min(x, y) && std::max(x, y) <= 70);
    num_true += is_true ? 1 : 0;
    num_near += !is_true && std::llabs(stated - gold) <= 3 ? 1 : 0;
    EXPECT_TRUE(gold < 0 || stated >= 0) << stated;
    pairs.insert({x, y});
  }
  EXPECT_EQ(pairs.size(), 1001U);
  EXPECT_NEAR(num_true, 500.5, 0.5);
  EXPECT_NEAR(num_near, 250.5, 1);
}

TEST(Additions, RefusesWhatCannotBe) {
  EXPECT_THROW(make_additions({1, 3, 0.5, {SumError::kFar}, 1}, 10, 0), DataError);
  EXPECT_THROW(make_additions({3, 1, 0.5, {SumError::kFar}, 1}, 1, 0), DataError);
  EXPECT_THROW(make_additions({1, 3, 0.5, {}, 1}, 1, 0), DataError);
  EXPECT_THROW(make_additions({1, 3, 1.5, {SumError::kFar}, 1}, 1, 0), DataError);
  EXPECT_THROW(make_additions({1, 3, 0.5, {SumError::kFar}, 0}, 1, 0), DataError);
  EXPECT_THROW(make_additions({1, 3, 0.5, {SumError::kFar}, 1}, 0, 0), DataError);
  EXPECT_THROW(parse_sum_error("off"), DataError);
}

}  // namespace
}  // namespace syco
