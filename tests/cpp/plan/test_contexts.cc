#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "core/plan/contexts.h"

namespace syco {
namespace {

// Four sequences, the first, second and fourth after the context 5 6; what is scored begins with 7 or 8.
const std::vector<std::int32_t> kTokens = {5, 6, 7, 1, 5, 6, 7, 2, 4, 8, 5, 6, 8};
const std::vector<std::int64_t> kOffsets = {0, 4, 8, 10, 13};
const std::vector<std::int32_t> kNumContext = {2, 2, 1, 2};

TEST(Contexts, AreFoundOnceInLexicographicOrder) {
  const std::vector<Context> contexts = distinct_contexts({kTokens, kOffsets, kNumContext});
  ASSERT_EQ(contexts.size(), 2U);
  EXPECT_EQ(std::vector<std::int32_t>(contexts[0].tokens.begin(), contexts[0].tokens.end()),
            (std::vector<std::int32_t>{4}));
  EXPECT_EQ(contexts[0].sequences, (std::vector<std::int32_t>{2}));
  EXPECT_EQ(std::vector<std::int32_t>(contexts[1].tokens.begin(), contexts[1].tokens.end()),
            (std::vector<std::int32_t>{5, 6}));
  EXPECT_EQ(contexts[1].sequences, (std::vector<std::int32_t>{0, 1, 3}));
  EXPECT_EQ(count_tokens(contexts), 3);
}

TEST(Contexts, HaveATreeEachThatBeginsWithTheStartToken) {
  const Sequences sequences{kTokens, kOffsets, kNumContext};
  const DecoderPlan decoder = make_decoder_plan(sequences, distinct_contexts(sequences), 9);
  EXPECT_EQ(decoder.first_rows, (std::vector<std::int64_t>{0, 1, 3}));
  EXPECT_EQ(decoder.plan.tokens, (std::vector<std::int32_t>{9, 9, 7}));
  EXPECT_EQ(decoder.plan.parents, (std::vector<std::int64_t>{-1, -1, 1}));
  EXPECT_EQ(decoder.plan.depths, (std::vector<std::int32_t>{0, 0, 1}));
  // In a row, targets keep the order of the tree's sequences: shorter inputs first.
  EXPECT_EQ(decoder.plan.targets,
            (std::vector<Target>{{0, 8, 2}, {1, 8, 3}, {1, 7, 0}, {1, 7, 1}, {2, 1, 0}, {2, 2, 1}}));
  EXPECT_EQ(decoder.plan.max_depth, 2);
}

TEST(Contexts, AreCutWhereTheNextWouldBeTooMuch) {
  const std::vector<std::int32_t> tokens(100, 1);
  std::vector<Context> contexts;
  for (const std::size_t length : {3, 4, 9, 1, 2, 5}) contexts.push_back({std::span(tokens).first(length), {}});
  std::vector<std::size_t> sizes;
  for (const auto piece : cut_contexts(contexts, 7)) sizes.push_back(piece.size());
  EXPECT_EQ(sizes, (std::vector<std::size_t>{2, 1, 2, 1}));
  EXPECT_TRUE(cut_contexts({}, 7).empty());
}

TEST(Contexts, RefuseASequenceWithNothingToScore) {
  EXPECT_THROW(distinct_contexts({kTokens, kOffsets, std::vector<std::int32_t>{4, 2, 1, 2}}), DataError);
}

}  // namespace
}  // namespace syco
