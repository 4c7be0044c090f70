#include "core/generation/addition.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/rng.h"
#include "core/generation/claim_table.h"

namespace syco {
namespace {

// So that the number of pairs fits into 64 bits, and a far error, up to 10^6 times the sum, into 63.
constexpr std::int64_t kMaxOperand = 1'000'000'000;

void check(const AdditionOptions& options, std::int64_t n, std::uint64_t num_pairs) {
  require(options.true_share >= 0 && options.true_share <= 1,
          "additions: true_share must be in [0, 1], got " + std::to_string(options.true_share));
  require(options.true_share == 1 || !options.errors.empty(), "additions: false sums need at least one kind of error");
  require(options.near_max >= 1 && options.near_max <= kMaxOperand,
          "additions: near_max must be at least 1, got " + std::to_string(options.near_max));
  require(n >= 1 && std::cmp_less_equal(n, num_pairs), "additions: operands " + std::to_string(options.first_operand) +
                                                           " to " + std::to_string(options.last_operand) + " give " +
                                                           std::to_string(num_pairs) +
                                                           " different sums, got n = " + std::to_string(n));
}

std::uint64_t count_operands(const AdditionOptions& options) {
  require(-kMaxOperand <= options.first_operand && options.first_operand <= options.last_operand &&
              options.last_operand <= kMaxOperand,
          "additions: operands must go from low to high within 10^9, got " + std::to_string(options.first_operand) +
              " to " + std::to_string(options.last_operand));
  return static_cast<std::uint64_t>(options.last_operand - options.first_operand) + 1;
}

// A false sum. A near one does not fall below zero where the true one does not: its sign would give it away. A far
// error multiplies, so that it cannot change a sum of zero: there it is the factor itself.
std::int64_t false_sum(std::int64_t sum, SumError error, std::int64_t near_max, Draws& draws) {
  if (error == SumError::kNear) {
    const std::uint64_t drawn = draws.below(2 * static_cast<std::uint64_t>(near_max));
    const auto step = static_cast<std::int64_t>(drawn / 2) + 1;
    const bool is_above = drawn % 2 == 0 || (sum >= 0 && step > sum);
    return is_above ? sum + step : sum - step;
  }
  constexpr double kLowest = 1e5;
  constexpr double kHighest = 1e6;
  const double factor = kLowest + draws.unit() * (kHighest - kLowest);
  return static_cast<std::int64_t>(factor * static_cast<double>(sum == 0 ? 1 : sum));
}

}  // namespace

SumError parse_sum_error(std::string_view name) {
  if (name == "near") return SumError::kNear;
  require(name == "far", "unknown error of a sum '" + std::string(name) + "'; the errors are near, far");
  return SumError::kFar;
}

BatchTable make_additions(const AdditionOptions& options, std::int64_t n, std::uint64_t seed) {
  const std::uint64_t num_operands = count_operands(options);
  const std::uint64_t num_pairs = num_operands * num_operands;
  check(options, n, num_pairs);
  const auto count = static_cast<std::uint64_t>(n);
  const auto num_true = static_cast<std::uint64_t>(std::llround(options.true_share * static_cast<double>(n)));
  const Rng rng{seed};
  const Permutation pairs(num_pairs, rng.at(Stream::kSums, 0));
  const Permutation cells(count, rng.at(Stream::kCells, 0));
  ClaimTableBuilder builder;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t pair = count == num_pairs ? i : pairs(i);
    const std::int64_t x = options.first_operand + static_cast<std::int64_t>(pair / num_operands);
    const std::int64_t y = options.first_operand + static_cast<std::int64_t>(pair % num_operands);
    const std::uint64_t cell = cells(i);
    std::int64_t stated = x + y;
    if (cell >= num_true) {
      Draws draws = rng.at(Stream::kSums, i + 1);
      stated = false_sum(x + y, options.errors[cell % options.errors.size()], options.near_max, draws);
    }
    const std::string sum = std::to_string(x) + " + " + std::to_string(y);
    const std::string stated_text = std::to_string(stated);
    const std::string example_id = id_text(Hasher().add("addition").add(sum).value());
    builder.append({.id = Hasher().add(example_id).add(stated_text).value(),
                    .example_id = example_id,
                    .source = "addition",
                    .kind = "addition",
                    .text = {sum, " = ", stated_text},
                    .is_true = stated == x + y,
                    .is_negated = false,
                    .stated_label = stated_text,
                    .gold_label = std::to_string(x + y)});
  }
  return builder.finish();
}

}  // namespace syco
