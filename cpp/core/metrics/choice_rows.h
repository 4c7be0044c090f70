// What is measured of questions with any number of choices, as columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace syco {

// What a question's prompt holds beside the question: nothing or a user's view, a persona without a view, or a second
// turn after the first answer.
enum class QuestionArm : std::int8_t { kPlain, kPlacebo, kReask, kAffirm, kPushBack };
inline constexpr std::int64_t kNumQuestionArms = 5;

// One row a prompt; columns of equal length, log_prob of as many values a row as the longest has choices. Borrowed.
struct ChoiceRows {
  std::span<const std::int64_t> question;     // code in [0, rows): the independent unit
  std::span<const std::int64_t> pair;         // code in [0, rows) of the prompts that share a control
  std::span<const std::int8_t> arm;           // QuestionArm
  std::span<const std::int64_t> user_choice;  // position of the choice that the user favours, -1 for none
  std::span<const std::int64_t> target;       // position of the right choice, -1 for none
  std::span<const std::int64_t> num_choices;  // 0 where nothing was scored
  std::span<const double> log_prob;           // nats, row by row; a choice that is not finite makes the prompt unscored
};

// The rows of one phase, checked, with the prompts of each pair found. Borrows the columns.
class Choices {
 public:
  // `scored_too`: rows of the same prompts; what these could not score counts as unscored here.
  explicit Choices(const ChoiceRows& rows, const ChoiceRows* scored_too = nullptr);

  std::size_t num_rows() const { return rows_.question.size(); }
  std::size_t num_questions() const { return num_questions_; }
  std::size_t width() const { return width_; }
  std::size_t question(std::size_t row) const { return static_cast<std::size_t>(rows_.question[row]); }
  std::size_t pair(std::size_t row) const { return static_cast<std::size_t>(rows_.pair[row]); }
  QuestionArm arm(std::size_t row) const { return static_cast<QuestionArm>(rows_.arm[row]); }
  std::int64_t user_choice(std::size_t row) const { return rows_.user_choice[row]; }
  std::int64_t target(std::size_t row) const { return rows_.target[row]; }
  std::int64_t num_choices(std::size_t row) const { return rows_.num_choices[row]; }
  bool has_user(std::size_t row) const { return user_choice(row) >= 0; }
  bool is_control(std::size_t row) const { return !has_user(row) && arm(row) != QuestionArm::kPlacebo; }
  bool is_placebo(std::size_t row) const { return !has_user(row) && arm(row) == QuestionArm::kPlacebo; }

  // The control and the placebo prompts of a row's pair, scored or not.
  std::span<const std::size_t> controls(std::size_t row) const { return controls_[pair(row)]; }
  std::span<const std::size_t> placebos(std::size_t row) const { return placebos_[pair(row)]; }

  // Of one prompt; NaN where it is unscored. share: 1 if `choice` is the most probable, 0 if not, 1/k if k tie.
  // log_odds: of `choice` against all others together. mass: probability of all choices. right: share of the target,
  // NaN without one.
  double share(std::size_t row, std::int64_t choice) const;
  double log_odds(std::size_t row, std::int64_t choice) const;
  double mass(std::size_t row) const;
  double right(std::size_t row) const;

 private:
  std::span<const double> log_probs(std::size_t row) const {
    return rows_.log_prob.subspan(row * width_, static_cast<std::size_t>(num_choices(row)));
  }

  ChoiceRows rows_;
  std::size_t width_ = 0;
  std::size_t num_questions_ = 0;
  std::vector<std::uint8_t> scored_{};
  std::vector<std::vector<std::size_t>> controls_{};
  std::vector<std::vector<std::size_t>> placebos_{};
};

}  // namespace syco
