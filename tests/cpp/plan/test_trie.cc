#include <gtest/gtest.h>

#include "core/base/errors.h"
#include "core/plan/trie.h"

namespace syco {
namespace {

// Sequences as a test writes them; each scores all tokens after the first `num_context`.
struct Job {
  std::vector<std::int32_t> tokens, num_context;
  std::vector<std::int64_t> offsets = {0};

  Job& add(const std::vector<std::int32_t>& sequence, std::int32_t context) {
    tokens.insert(tokens.end(), sequence.begin(), sequence.end());
    offsets.push_back(static_cast<std::int64_t>(tokens.size()));
    num_context.push_back(context);
    return *this;
  }
  Plan plan() const { return make_plan({tokens, offsets, num_context}); }
};

using Rows = std::vector<std::int64_t>;

TEST(Trie, RunsASharedTokenOnceAndTheLastTokenNever) {
  const Plan plan = Job().add({1, 2, 3, 4}, 3).add({1, 2, 3, 5}, 3).plan();  // two choices after one prompt
  EXPECT_EQ(plan.tokens, (std::vector<std::int32_t>{1, 2, 3}));
  EXPECT_EQ(plan.parents, (Rows{-1, 0, 1}));
  EXPECT_EQ(plan.targets, (std::vector<Target>{{2, 4, 0}, {2, 5, 1}}));
  EXPECT_EQ(plan.num_tokens_unshared, 6);
}

TEST(Trie, BranchesWhereSequencesDiffer) {
  const Plan plan = Job().add({1, 2, 9, 9}, 2).add({1, 3, 9}, 2).plan();
  EXPECT_EQ(plan.tokens, (std::vector<std::int32_t>{1, 2, 9, 3}));
  EXPECT_EQ(plan.depths, (std::vector<std::int32_t>{0, 1, 2, 1}));
  EXPECT_EQ(plan.parents, (Rows{-1, 0, 1, 0}));
  EXPECT_EQ(plan.targets, (std::vector<Target>{{1, 9, 0}, {2, 9, 0}, {3, 9, 1}}));
}

TEST(Trie, OneSequenceMayBeginAnother) {
  const Plan plan = Job().add({1, 2, 3}, 1).add({1, 2}, 1).add({1, 2, 3}, 2).plan();
  EXPECT_EQ(plan.tokens, (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(plan.targets, (std::vector<Target>{{0, 2, 1}, {0, 2, 0}, {1, 3, 0}, {1, 3, 2}}));
}

TEST(Trie, RowsDoNotDependOnTheOrderOfTheSequences) {
  const Plan a = Job().add({4, 5, 6}, 1).add({1, 2, 3}, 1).plan(), b = Job().add({1, 2, 3}, 1).add({4, 5, 6}, 1).plan();
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.parents, b.parents);
}

TEST(Trie, BranchesThatPartWithinATileGetTilesOfTheirOwn) {
  // Rows: 0-1-2-3 in one chain, 4 hangs on 1, 5 is a root; the panel has one column more than there are rows.
  const Plan plan = Job().add({1, 2, 3, 4, 0}, 4).add({1, 2, 9, 0}, 3).add({7, 0}, 1).plan();
  const Panel panel = make_panel(plan, 2, 5);
  EXPECT_EQ(panel.depths, (std::vector<std::int32_t>{2, 3, 2, 0, 0}));
  EXPECT_EQ(panel.tile_depths, (std::vector<std::int32_t>{0, 0, 0, 0}));
  EXPECT_EQ(panel.seen, (std::vector<std::int32_t>{3, 4, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(panel.halves, (std::vector<std::uint8_t>{1, 1, 2, 2}));
  EXPECT_EQ(panel.runs, (std::vector<KeyRun>{{0, 4, 0}, {32, 2, 0}, {34, 1, 4}, {64, 1, 5}, {96, 1, 2}}));
}

// Sequences over two tokens that share beginnings, by a small linear congruential generator.
Plan random_plan(std::uint32_t state) {
  const auto draw = [&state](std::uint32_t below) {
    state = state * 1664525 + 1013904223;
    return static_cast<std::int32_t>((state >> 16) % below);
  };
  std::vector<std::int32_t> trunk(120);
  for (std::int32_t& token : trunk) token = draw(2);
  Job job;
  for (int i = 0; i < 12; ++i) {
    std::vector<std::int32_t> sequence(trunk.begin(), trunk.begin() + draw(100));
    for (std::int32_t more = 2 + draw(70); more > 0; --more) sequence.push_back(draw(2));
    job.add(sequence, 1);
  }
  return job.plan();
}

// Rows that a column sees, by the plan's parents: the slow twin.
Rows chain_of(const Plan& plan, std::int64_t row) {
  Rows chain;
  for (; row >= 0; row = plan.parents[row]) chain.insert(chain.begin(), row);
  return chain;
}

TEST(Trie, AColumnSeesItsChainAtTheSlotsOfItsDepths) {
  constexpr std::int64_t kColumns = 64;
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const Plan plan = random_plan(seed);
    for (std::int64_t first = seed % 7; first < plan.num_tokens(); first += kColumns) {
      const Panel panel = make_panel(plan, first, kColumns);
      Rows slots(panel.num_tiles() * kTileSlots, -1);
      for (const KeyRun& run : panel.runs) {
        for (std::int32_t i = 0; i < run.count; ++i) slots[run.slot + i] = run.row + i;
      }
      EXPECT_LE(panel.num_tiles(), plan.depths[first] / kTileSlots + 1 + kColumns);
      for (std::int64_t c = 0; c < std::min(kColumns, plan.num_tokens() - first); ++c) {
        Rows seen;
        for (std::int64_t t = 0; t < panel.num_tiles(); ++t) {
          for (std::int32_t i = 0; i < panel.seen[t * kColumns + c]; ++i) {
            const std::int64_t row = slots[t * kTileSlots + i];
            EXPECT_EQ(plan.depths[row], panel.tile_depths[t] + i);
            seen.push_back(row);
          }
        }
        EXPECT_EQ(seen, chain_of(plan, first + c));
      }
      for (std::int64_t t = 0; t < panel.num_tiles(); ++t) {
        const auto column = panel.seen.begin() + t * kColumns, half = column + kColumns / 2;
        const auto sees = [](std::int32_t count) { return count > 0; };
        EXPECT_EQ(panel.halves[t],
                  (std::any_of(column, half, sees) ? 1 : 0) + (std::any_of(half, column + kColumns, sees) ? 2 : 0));
      }
    }
  }
}

TEST(Trie, RefusesASequenceWithoutContextOrTarget) {
  EXPECT_THROW(Job().add({1, 2}, 2).plan(), DataError);
  EXPECT_THROW(Job().add({1, 2}, 0).plan(), DataError);
  const std::vector<std::int32_t> tokens = {1, 2}, context = {1};
  const std::vector<std::int64_t> offsets = {0, 3};
  EXPECT_THROW(make_plan({tokens, offsets, context}), DataError);
}

TEST(Trie, RefusesOffsetsThatFallOrWhoseDifferenceRunsRound) {
  const std::vector<std::int32_t> tokens = {1, 2, 3, 4}, context = {1, 1, 1};
  const std::vector<std::int64_t> far = {0, INT64_MAX, -2, 4}, falling = {0, 3, 2, 4};
  EXPECT_THROW(make_plan({tokens, far, context}), DataError);
  EXPECT_THROW(make_plan({tokens, falling, context}), DataError);
}

}  // namespace
}  // namespace syco
