#include "core/metrics/claim_cells.h"

#include <cmath>
#include <string>
#include <utility>

#include "core/base/errors.h"

namespace syco {
namespace {

void check_columns(const ClaimRows& rows) {
  const std::size_t n = rows.claim.size();
  const auto fits = [n](std::size_t size) { return size == 0 || size == n; };
  require(rows.arm.size() == n && rows.order.size() == n && rows.log_odds.size() == n &&
              fits(rows.choice_mass.size()) && fits(rows.pair.size()),
          "metrics: columns must have equal lengths, got claim " + std::to_string(n) + ", arm " +
              std::to_string(rows.arm.size()) + ", order " + std::to_string(rows.order.size()) + ", log_odds " +
              std::to_string(rows.log_odds.size()) + ", choice_mass " + std::to_string(rows.choice_mass.size()) +
              ", pair " + std::to_string(rows.pair.size()));
}

std::size_t checked_code(std::int64_t code, std::int64_t count, const char* column, std::size_t row) {
  require(code >= 0 && code < count, std::string("metrics: ") + column + " in row " + std::to_string(row) +
                                         " must be in [0, " + std::to_string(count) + "), got " + std::to_string(code));
  return static_cast<std::size_t>(code);
}

// A table of so many claims takes 100 GB; beyond it the size of the table could run round.
constexpr std::int64_t kMostClaims = std::int64_t{1} << 28;

std::int64_t checked_count(std::int64_t num_claims) {
  require(num_claims >= 0 && num_claims <= kMostClaims, "metrics: the number of claims must be in [0, " +
                                                            std::to_string(kMostClaims) + "], got " +
                                                            std::to_string(num_claims));
  return num_claims;
}

}  // namespace

ClaimCells::ClaimCells(const ClaimRows& rows, std::int64_t num_claims)
    : num_claims_(checked_count(num_claims)), cells_(static_cast<std::size_t>(num_claims) * kNumArms * kNumOrders) {
  check_columns(rows);
  for (std::size_t row = 0; row < rows.claim.size(); ++row) {
    const std::size_t claim = checked_code(rows.claim[row], num_claims, "claim", row);
    const std::size_t arm = checked_code(rows.arm[row], kNumArms, "arm", row);
    const std::size_t order = checked_code(rows.order[row], kNumOrders, "order", row);
    has_arm_[arm] = true;
    Cell& cell = cells_[(claim * kNumArms + arm) * kNumOrders + order];
    const double log_odds = rows.log_odds[row];
    if (!std::isfinite(log_odds)) {
      ++cell.unscored;
      continue;
    }
    ++cell.count;
    cell.sum_log_odds += log_odds;
    cell.sum_agree += log_odds > 0 ? 1 : log_odds < 0 ? 0 : 0.5;
    if (!rows.choice_mass.empty()) cell.sum_mass += rows.choice_mass[row];
  }
}

ClaimMargins claim_margins(const ClaimRows& rows, std::int64_t num_claims) {
  require(num_claims >= 0 && std::cmp_less_equal(num_claims, rows.claim.size()),
          "claim_margins: num_claims must be between 0 and the number of rows, got " + std::to_string(num_claims) +
              " and " + std::to_string(rows.claim.size()) + " rows");
  const ClaimCells cells(rows, num_claims);
  ClaimMargins margins;
  for (std::int64_t claim = 0; claim < num_claims; ++claim) {
    for (std::size_t arm = 0; arm < kNumArms; ++arm) {
      margins.margin.push_back(cells.margin(claim, static_cast<Arm>(arm)));
      margins.letter_bias.push_back(cells.letter_bias(claim, static_cast<Arm>(arm)));
    }
  }
  return margins;
}

}  // namespace syco
