#include "core/plan/branches.h"

namespace syco {

Branches make_branches(const Plan& plan, std::int64_t first_row, std::int64_t end_row) {
  Branches result{.num_before = plan.depths[first_row], .cumulative_queries = {0}, .cumulative_keys = {0}, .keys = {}};
  for (std::int64_t row = first_row; row < end_row;) {
    do ++row;
    while (row < end_row && plan.parents[row] == row - 1);
    const std::int64_t num_keys = plan.depths[row - 1] + 1;
    std::int64_t* keys = &*result.keys.insert(result.keys.end(), num_keys, 0);
    for (std::int64_t at = row - 1; at >= 0; at = plan.parents[at]) {
      keys[plan.depths[at]] = at < first_row ? plan.depths[at] : result.num_before + at - first_row;
    }
    result.cumulative_queries.push_back(static_cast<std::int32_t>(row - first_row));
    result.cumulative_keys.push_back(static_cast<std::int32_t>(result.keys.size()));
  }
  return result;
}

}  // namespace syco
