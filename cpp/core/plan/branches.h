// Consecutive rows of a plan as the ragged sequences of one attention call.
//
// A branch is a run of rows of which each is the child of the row before, as long as it can be. Its queries are its
// rows, its keys the whole chain that ends in its last row: a causal mask that is aligned at the ends is then tree
// attention.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan/trie.h"

namespace syco {

struct Branches {
  std::int64_t num_before = 0;  // rows of the chain that leads into the first row
  std::vector<std::int32_t>
      cumulative_queries;                     // (B + 1) branch b has rows [c[b], c[b + 1]), counted from the first row
  std::vector<std::int32_t> cumulative_keys;  // (B + 1) and keys [c[b], c[b + 1]) of `keys`
  std::vector<std::int64_t> keys;  // place of each key: 0 .. num_before - 1 in the chain, by depth, then the rows
  bool operator==(const Branches&) const = default;
};

// The branches of rows [first_row, end_row) of the plan.
Branches make_branches(const Plan& plan, std::int64_t first_row, std::int64_t end_row);

}  // namespace syco
