#include <gtest/gtest.h>

#include "core/plan/branches.h"

namespace syco {
namespace {

// Rows: 0-1-2-3 in one chain, 4-5 hangs on 1, 6 hangs on 4, 7 is a root.
Plan plan_of_three_branches() {
  Plan plan;
  plan.depths = {0, 1, 2, 3, 2, 3, 3, 0};
  plan.parents = {-1, 0, 1, 2, 1, 4, 4, -1};
  plan.tokens = {0, 1, 2, 3, 4, 5, 6, 7};
  return plan;
}

TEST(Branches, AreRunsOfChildrenWithTheWholeChainAsKeys) {
  const Branches wanted{.num_before = 0,
                        .cumulative_queries = {0, 4, 6, 7, 8},
                        .cumulative_keys = {0, 4, 8, 12, 13},
                        .keys = {0, 1, 2, 3, 0, 1, 4, 5, 0, 1, 4, 6, 7}};
  EXPECT_EQ(make_branches(plan_of_three_branches(), 0, 8), wanted);
}

TEST(Branches, TakeFromTheChainBeforeWhatLiesBeforeTheFirstRow) {
  // The chain before row 3 is 0, 1, 2; row 3 itself is place 3, row 4 place 4.
  const Branches wanted{
      .num_before = 3, .cumulative_queries = {0, 1, 3}, .cumulative_keys = {0, 4, 8}, .keys = {0, 1, 2, 3, 0, 1, 4, 5}};
  EXPECT_EQ(make_branches(plan_of_three_branches(), 3, 6), wanted);
}

}  // namespace
}  // namespace syco
