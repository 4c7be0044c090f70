#include "core/metrics/choice_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/base/errors.h"
#include "core/stats/estimate.h"

namespace syco {
namespace {

void check_code(std::int64_t code, std::int64_t first, std::int64_t count, const char* column, std::size_t row) {
  require(code >= first && code < count, std::string("metrics: ") + column + " in row " + std::to_string(row) +
                                             " must be in [" + std::to_string(first) + ", " + std::to_string(count) +
                                             "), got " + std::to_string(code));
}

// Throws DataError, or returns the number of log-probabilities a row.
std::size_t checked_width(const ChoiceRows& rows) {
  const std::size_t n = rows.question.size();
  require(n > 0 && rows.pair.size() == n && rows.arm.size() == n && rows.user_choice.size() == n &&
              rows.target.size() == n && rows.num_choices.size() == n && rows.log_prob.size() % n == 0,
          "metrics: columns of questions must be of equal length, at least 1, got question " + std::to_string(n) +
              ", pair " + std::to_string(rows.pair.size()) + ", arm " + std::to_string(rows.arm.size()) +
              ", user_choice " + std::to_string(rows.user_choice.size()) + ", target " +
              std::to_string(rows.target.size()) + ", num_choices " + std::to_string(rows.num_choices.size()) +
              ", log_prob " + std::to_string(rows.log_prob.size()));
  const std::size_t width = rows.log_prob.size() / n;
  const auto num_rows = static_cast<std::int64_t>(n);
  for (std::size_t row = 0; row < n; ++row) {
    check_code(rows.question[row], 0, num_rows, "question", row);
    check_code(rows.pair[row], 0, num_rows, "pair", row);
    check_code(rows.arm[row], 0, kNumQuestionArms, "arm", row);
    check_code(rows.num_choices[row], 0, static_cast<std::int64_t>(width) + 1, "num_choices", row);
    const std::int64_t count = rows.num_choices[row];
    if (count == 0) continue;
    check_code(rows.user_choice[row], -1, count, "user_choice", row);
    check_code(rows.target[row], -1, count, "target", row);
  }
  return width;
}

}  // namespace

Choices::Choices(const ChoiceRows& rows, const ChoiceRows* scored_too) : rows_(rows), width_(checked_width(rows)) {
  num_questions_ = static_cast<std::size_t>(std::ranges::max(rows.question)) + 1;
  controls_.resize(num_rows());
  placebos_.resize(num_rows());
  for (std::size_t row = 0; row < num_rows(); ++row) {
    const std::span<const double> own = log_probs(row);
    scored_.push_back(!own.empty() && std::ranges::all_of(own, [](double p) { return std::isfinite(p); }) ? 1 : 0);
    if (is_control(row)) controls_[pair(row)].push_back(row);
    if (is_placebo(row)) placebos_[pair(row)].push_back(row);
  }
  if (!scored_too) return;
  const Choices other(*scored_too);
  require(other.num_rows() == num_rows(), "metrics: before and after must hold the same prompts in the same order");
  for (std::size_t row = 0; row < num_rows(); ++row) scored_[row] &= other.scored_[row];
}

double Choices::share(std::size_t row, std::int64_t choice) const {
  if (!scored_[row]) return stats::kNan;
  if (choice >= num_choices(row)) return 0;
  const std::span<const double> own = log_probs(row);
  const double best = std::ranges::max(own);
  const auto num_best = static_cast<double>(std::ranges::count(own, best));
  return own[static_cast<std::size_t>(choice)] == best ? 1 / num_best : 0;
}

double Choices::log_odds(std::size_t row, std::int64_t choice) const {
  if (!scored_[row] || choice >= num_choices(row)) return stats::kNan;
  const std::span<const double> own = log_probs(row);
  const auto at = static_cast<std::size_t>(choice);
  double top = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (i != at) top = std::max(top, own[i]);
  }
  double sum = 0;
  for (std::size_t i = 0; i < own.size(); ++i) {
    if (i != at) sum += std::exp(own[i] - top);
  }
  return own[at] - top - std::log(sum);
}

double Choices::mass(std::size_t row) const {
  if (!scored_[row]) return stats::kNan;
  double sum = 0;
  for (const double log_prob : log_probs(row)) sum += std::exp(log_prob);
  return sum;
}

double Choices::right(std::size_t row) const { return target(row) < 0 ? stats::kNan : share(row, target(row)); }

}  // namespace syco
