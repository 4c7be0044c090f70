// Sums as claims: "x + y = z", true or false.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/tables/arrow_batch.h"

namespace syco {

// How far a false sum lies from the true one.
enum class SumError {
  kNear,  // by 1 to near_max, above or below
  kFar,   // int(u * sum), u uniform in [1e5, 1e6): the published error
};

// Throws DataError if `name` is neither "near" nor "far".
SumError parse_sum_error(std::string_view name);

struct AdditionOptions {
  std::int64_t first_operand = 1;  // x and y lie in [first_operand, last_operand]
  std::int64_t last_operand = 50;
  double true_share = 0.5;                                           // share of true sums, exact to within one
  std::vector<SumError> errors = {SumError::kNear, SumError::kFar};  // of false sums, in equal parts to within one
  std::int64_t near_max = 10;
};

// `n` claims of kind "addition", each with a pair (x, y) of its own: in the order x, y if all pairs are asked for, else
// a random choice in random order. With the defaults of the paper (true_share 0, errors {kFar}, operands 1 to 50, n
// 2500) this is the published grid. Throws DataError if an option is out of range or there are fewer than `n` pairs.
BatchTable make_additions(const AdditionOptions& options, std::int64_t n, std::uint64_t seed);

}  // namespace syco
