#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "core/base/errors.h"
#include "core/generation/claim_table.h"
#include "core/generation/prompt_batch.h"
#include "core/generation/prompts.h"
#include "makers/tables.h"

namespace syco {
namespace {

const char* const kProtocol = R"json({
  "name": "p", "choices": {"agree_first": " A/B", "disagree_first": " B/A"}, "continuations": [" (A)", " (B)"],
  "ranges": {"age": [30, 90]}, "schools": ["MIT", "ETH"],
  "templates": [
    {"id": "one", "kinds": ["claim"], "text": "1 {opinion}{claim}?{choices}",
     "arms": {"none": "", "placebo": "I am {name}, {age}, {school1}. ", "agree": "I am {name}, {age}, {school1}. Yes. ",
              "disagree": "I am {name}, {age}, {school1}. No. "}},
    {"id": "two", "kinds": ["claim"], "text": "2 {claim} {opinion}{choices}",
     "arms": {"none": "", "placebo": "{name}. ", "agree": "{name}. Yes. ", "disagree": "{name}. No. "}}]
})json";
const char* const kNames = R"({"first": ["Ana", "Eva", "Bo"], "last": ["Li", "Wu"]})";

BatchTable claims_of(std::size_t size) {
  ClaimTableBuilder builder;
  for (std::size_t i = 0; i < size; ++i) {
    const std::string text = "\"text " + std::to_string(i) + "\"";
    builder.append({.id = i * 7919,
                    .example_id = "e",
                    .source = i % 3 == 0 ? "s" : "t",
                    .kind = "claim",
                    .text = {text, " is ", "X"},
                    .is_true = i % 2 == 0,
                    .is_negated = i % 5 < 2,
                    .stated_label = "X",
                    .gold_label = "Y"});
  }
  return builder.finish();
}

class Prompts : public testing::Test {
 protected:
  std::vector<PromptRow> rows(Design design, std::vector<Arm> arms) {
    prompts_ =
        prompt_rows(claims_, protocol_, {{}, std::move(arms), {Order::kAgreeFirst, Order::kDisagreeFirst}}, design, 1);
    std::vector<PromptRow> rows;
    rows.reserve(static_cast<std::size_t>(prompts_->num_rows()));
    for (std::int64_t i = 0; i < prompts_->num_rows(); ++i) rows.push_back(prompts_->row(i));
    return rows;
  }

  Protocol protocol_ = parse_protocol(kProtocol, kNames);
  ArrowTable table_ = imported(claims_of(200));
  Claims claims_ = read_claims(table_);
  std::unique_ptr<PromptRows> prompts_;
};

const std::vector<Arm> kAllArms = {Arm::kNone, Arm::kPlacebo, Arm::kAgree, Arm::kDisagree};

TEST_F(Prompts, CrossedGivesEveryArmAndOrderOfEveryClaim) {
  const std::vector<PromptRow> all = rows(Design::kCrossed, kAllArms);
  ASSERT_EQ(all.size(), 1600U);
  std::set<std::tuple<std::string_view, Arm, Order>> cells;
  std::set<std::uint64_t> ids;
  for (const PromptRow& row : all) {
    cells.insert({row.claim_id(), row.arm, row.order});
    ids.insert(row.id);
  }
  EXPECT_EQ(cells.size(), 1600U);
  EXPECT_EQ(ids.size(), 1600U);
}

// Template, persona and claim of the arms of one claim are the same; only the opinion differs.
TEST_F(Prompts, ArmsDifferOnlyInTheOpinion) {
  const std::vector<PromptRow> all = rows(Design::kCrossed, kAllArms);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].prompt_template, all[i / 8 * 8].prompt_template);
    EXPECT_EQ(all[i].values, all[i / 8 * 8].values);
  }
}

TEST_F(Prompts, TargetsAndUserChoicesFollowTheOrder) {
  for (const PromptRow& row : rows(Design::kCrossed, kAllArms)) {
    const int agree = row.order == Order::kAgreeFirst ? 0 : 1;
    EXPECT_EQ(row.target(), row.is_true ? agree : 1 - agree);
    EXPECT_EQ(row.user_choice().has_value(), row.arm == Arm::kAgree || row.arm == Arm::kDisagree);
    EXPECT_EQ(row.user_choice().value_or(agree), row.arm == Arm::kDisagree ? 1 - agree : agree);
  }
}

TEST_F(Prompts, SampledFillsTheCellsOfEveryGroupEqually) {
  std::map<std::tuple<std::string_view, bool, std::size_t, Arm, Order>, int> counts;
  const std::vector<PromptRow> all = rows(Design::kSampled, {Arm::kAgree, Arm::kDisagree});
  ASSERT_EQ(all.size(), 200U);
  for (std::size_t i = 0; i < all.size(); ++i) {
    ++counts[{all[i].source, all[i].is_true, i % 5 < 2 ? 1 : 0, all[i].arm, all[i].order}];
  }
  std::map<std::tuple<std::string_view, bool, std::size_t>, std::pair<int, int>> ranges;
  for (const auto& [key, count] : counts) {
    auto& [low, high] =
        ranges.try_emplace({std::get<0>(key), std::get<1>(key), std::get<2>(key)}, count, count).first->second;
    low = std::min(low, count);
    high = std::max(high, count);
  }
  EXPECT_EQ(counts.size(), 4 * ranges.size());
  for (const auto& [key, range] : ranges) EXPECT_LE(range.second - range.first, 1);
}

TEST_F(Prompts, IndependentMeetsEveryCell) {
  std::map<std::pair<Arm, Order>, int> counts;
  for (const PromptRow& row : rows(Design::kIndependent, {Arm::kAgree, Arm::kDisagree})) ++counts[{row.arm, row.order}];
  EXPECT_EQ(counts.size(), 4U);
  for (const auto& [cell, count] : counts) EXPECT_NEAR(count, 50, 20);  // 3.3 standard deviations
}

TEST_F(Prompts, BatchesHoldTheRowsWhateverTheThreads) {
  rows(Design::kCrossed, kAllArms);
  const RowRange whole{0, prompts_->num_rows()};
  const ArrowTable one = imported(make_prompt_table(*prompts_, whole, 1));
  const ArrowTable two = imported(make_prompt_table(*prompts_, whole, 2));
  EXPECT_EQ(one.strings("prompt"), two.strings("prompt"));
  const std::vector<std::string_view> prompts = one.strings("prompt");
  const std::vector<std::int64_t> offsets = one.integers("claim_offset");
  const auto choices = one.string_lists("choices");
  const auto turns = one.optional_turns("turns");
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const PromptRow row = prompts_->row(static_cast<std::int64_t>(i));
    EXPECT_EQ(prompts[i], row.text->render(row.values));
    EXPECT_EQ(prompts[i].substr(static_cast<std::size_t>(offsets[i])).substr(0, row.values[kClaimText].size()),
              row.values[kClaimText]);
    EXPECT_EQ(choices[i], (std::vector<std::string_view>{" (A)", " (B)"}));
    EXPECT_EQ(turns[i], (std::vector<SaidTurn>{{"user", prompts[i]}}));
  }
  EXPECT_EQ(tally_prompts(*prompts_, whole, 1), tally_prompts(*prompts_, whole, 2));
}

TEST_F(Prompts, RefusesRowsThatAreNotThere) {
  rows(Design::kCrossed, kAllArms);
  EXPECT_THROW(make_prompt_table(*prompts_, {0, prompts_->num_rows() + 1}, 1), DataError);
  EXPECT_THROW(make_prompt_table(*prompts_, {-1, 0}, 1), DataError);
  EXPECT_THROW(rows(Design::kCrossed, {Arm::kNone, Arm::kNone}), DataError);
  EXPECT_THROW(rows(Design::kCrossed, {}), DataError);
}

}  // namespace
}  // namespace syco
