#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <ranges>
#include <set>
#include <tuple>

#include "core/base/errors.h"
#include "core/generation/claims.h"
#include "makers/expect_error.h"
#include "makers/tables.h"

namespace syco {
namespace {

// Examples of one source, with `num_labels` labels in turn.
ArrowTable examples_table(std::size_t size, std::size_t num_labels) {
  std::vector<std::string> ids;
  std::vector<std::string> inputs;
  std::vector<std::int64_t> labels;
  std::string names = R"({"s": [)";
  for (std::size_t label = 0; label < num_labels; ++label) {
    names += (label == 0 ? "\"L" : ", \"L") + std::to_string(label) + "\"";
  }
  for (std::size_t i = 0; i < size; ++i) {
    ids.push_back("id" + std::to_string(i));
    inputs.push_back("\"text " + std::to_string(i) + "\"");
    labels.push_back(static_cast<std::int64_t>(i % num_labels));
  }
  return TableOf()
      .texts("id", ids)
      .texts("source", std::vector<std::string>(size, "s"))
      .texts("input", inputs)
      .integers("label", labels)
      .imported({{"sycophancy_core.labels", names + "]}"}});
}

using Cell = std::tuple<bool, bool>;  // is_true, is_negated

// Counts over the first `num_claims` claims: pass after pass, position after position.
std::map<Cell, int> cell_counts(const ClaimSchedule& schedule, std::size_t size, std::size_t num_claims) {
  std::map<Cell, int> counts;
  for (std::size_t i = 0; i < num_claims; ++i) {
    const Claim claim = schedule.at(0, i % size, i / size);
    ++counts[{claim.is_true, claim.is_negated}];
  }
  return counts;
}

class BalancedClaims : public testing::TestWithParam<std::size_t> {};

TEST_P(BalancedClaims, FillEveryCellEquallyAtEveryLength) {
  const std::size_t size = GetParam();
  const ArrowTable table = examples_table(size, 3);
  const Examples examples = read_examples(table);
  const ClaimSchedule schedule(examples, {Recipe::kBalanced, 0.5}, Rng{size});
  for (std::size_t length = 4; length <= 9 * size; ++length) {
    const auto counts = cell_counts(schedule, size, length);
    ASSERT_EQ(counts.size(), 4U);
    const auto [low, high] = std::ranges::minmax(std::views::values(counts));
    ASSERT_LE(high - low, 1) << "length " << length;
  }
}

TEST_P(BalancedClaims, OfOneExampleAreAllDifferent) {
  const ArrowTable table = examples_table(GetParam(), 2);
  const Examples examples = read_examples(table);
  const ClaimSchedule schedule(examples, {Recipe::kBalanced, 0.5}, Rng{1});
  for (std::size_t row = 0; row < examples.size(); ++row) {
    std::set<std::pair<std::size_t, bool>> claims;
    for (std::uint64_t pass = 0; pass < schedule.period(); ++pass) {
      const Claim claim = schedule.of(row, pass);
      claims.insert({claim.stated_label, claim.is_negated});
      EXPECT_EQ(claim.is_true, (claim.stated_label == examples.labels[row]) != claim.is_negated);
    }
    EXPECT_EQ(claims.size(), 4U);
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, BalancedClaims, testing::Values(4, 5, 6, 7, 8, 10, 12, 14));

TEST(ClaimSchedule, FindsAnExampleByRowAndByPosition) {
  const ArrowTable table = examples_table(23, 4);
  const Examples examples = read_examples(table);
  const ClaimSchedule schedule(examples, {Recipe::kBalanced, 0.5}, Rng{2});
  for (std::uint64_t position = 0; position < 23; ++position) {
    const Claim claim = schedule.at(0, position, 1);
    EXPECT_EQ(schedule.of(claim.example, 1), claim);
  }
}

TEST(ClaimSchedule, Wei2023StatesTheGoldLabelOnly) {
  const ArrowTable table = examples_table(1000, 3);
  const Examples examples = read_examples(table);
  const ClaimSchedule schedule(examples, {Recipe::kWei2023, 0.25}, Rng{4});
  int num_negated = 0;
  for (std::size_t row = 0; row < examples.size(); ++row) {
    const Claim claim = schedule.of(row, 0);
    EXPECT_EQ(claim.stated_label, examples.labels[row]);
    EXPECT_EQ(claim.is_true, !claim.is_negated);
    EXPECT_NE(schedule.of(row, 1).is_negated, claim.is_negated);
    num_negated += claim.is_negated ? 1 : 0;
  }
  EXPECT_NEAR(num_negated, 250, 45);  // 3.3 standard deviations
}

TEST(MakeClaims, SaysHowManyThereAre) {
  const ArrowTable table = examples_table(10, 2);
  const Examples examples = read_examples(table);
  EXPECT_EQ(make_claims(examples, {}, 4, 0).num_rows(), 40);
  expect_error([&] { make_claims(examples, {}, 5, 0); }, "the 10 examples give 40 different claims, 4 an example");
  expect_error([&] { make_claims(examples, {Recipe::kBalanced, 0.3}, 1, 0); }, "needs negated_share 0, 0.5 or 1");
  expect_error([&] { make_claims(examples, {Recipe::kWei2023, 1.5}, 1, 0); }, "negated_share must be in [0, 1]");
}

TEST(ReadExamples, RefusesWhatHasNoLabel) {
  const TableOf columns =
      TableOf().texts("id", {"a"}).texts("source", {"s"}).texts("input", {"x"}).integers("label", {2});
  expect_error([&] { read_examples(columns.imported()); }, "no metadata 'sycophancy_core.labels'");
  expect_error([&] { read_examples(columns.imported({{"sycophancy_core.labels", R"({"t": ["x"]})"}})); },
               "lacks source 's'");
  expect_error([&] { read_examples(columns.imported({{"sycophancy_core.labels", R"({"s": ["x", "y"]})"}})); },
               "row 0 of source 's' has label 2, expected 0 to 1");
}

}  // namespace
}  // namespace syco
