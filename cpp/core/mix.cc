#include "core/mix.h"

#include <array>
#include <cmath>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "core/column_builder.h"
#include "core/errors.h"
#include "core/hash.h"
#include "core/rng.h"
#include "core/template.h"

namespace syco {
namespace {

constexpr std::array<std::string_view, 3> kSlots = {"instruction", "input", "output"};
constexpr int kInstruction = 0;
constexpr int kInput = 1;
constexpr int kOutput = 2;

class TrainingRows {
 public:
  void append(std::string_view id, std::string_view origin, std::string_view prompt, std::string_view completion) {
    ids_.append(id);
    origins_.append(origin);
    prompts_.append(prompt);
    completions_.append(completion);
    ++num_rows_;
  }

  BatchTable finish() const {
    auto batch = std::make_shared<Batch>();
    batch->num_rows = num_rows_;
    batch->columns.push_back(ids_.finish());
    batch->columns.push_back(origins_.finish());
    batch->columns.push_back(prompts_.finish());
    batch->columns.push_back(completions_.finish());
    BatchTable table{{{"id", ColumnType::kString},
                      {"origin", ColumnType::kString},
                      {"prompt", ColumnType::kLargeString},
                      {"completion", ColumnType::kLargeString}},
                     {}};
    table.batches.push_back(std::move(batch));
    return table;
  }

 private:
  StringBuilder ids_;
  StringBuilder origins_;
  LargeStringBuilder prompts_;
  LargeStringBuilder completions_;
  std::int64_t num_rows_ = 0;
};

// The prompts' part of the mix, row by row.
class Synthetic {
 public:
  explicit Synthetic(const ArrowTable& table)
      : ids_(table.strings("id")),
        prompts_(table.strings("prompt")),
        choices_(table.string_lists("choices")),
        targets_(table.optional_integers("target")) {}

  std::size_t size() const { return ids_.size(); }

  void append_to(TrainingRows& rows, std::size_t i) const {
    const auto& target = targets_[i];
    if (!target || *target < 0 || *target >= static_cast<std::int64_t>(choices_[i].size())) {
      throw DataError("mix: prompt " + std::to_string(i) + " (id " + std::string(ids_[i]) + ") has " +
                      (target ? "target " + std::to_string(*target) : "no target") + " among " +
                      std::to_string(choices_[i].size()) +
                      " choices; only prompts with a right answer can be trained on");
    }
    rows.append(ids_[i], "synthetic", prompts_[i], choices_[i][static_cast<std::size_t>(*target)]);
  }

 private:
  std::vector<std::string_view> ids_;
  std::vector<std::string_view> prompts_;
  std::vector<std::vector<std::string_view>> choices_;
  std::vector<std::optional<std::int64_t>> targets_;
};

// The instruction rows in random order, over and over.
class Instructions {
 public:
  Instructions(const ArrowTable& table, const MixOptions& options, Rng rng)
      : instructions_(table.strings("instruction")),
        inputs_(table.optional_strings("input")),
        outputs_(table.strings("output")),
        with_input_(Template::parse(options.with_input, kSlots, "mix: with_input")),
        without_input_(Template::parse(options.without_input, kSlots, "mix: without_input")),
        completion_(Template::parse(options.completion, kSlots, "mix: completion")),
        rng_(rng) {
    require(with_input_.uses(kInstruction) && with_input_.uses(kInput) && without_input_.uses(kInstruction) &&
                completion_.uses(kOutput),
            "mix: with_input must hold {instruction} and {input}, without_input {instruction}, completion {output}");
    require(!without_input_.uses(kInput), "mix: without_input must not hold {input}");
  }

  std::size_t size() const { return instructions_.size(); }

  // The i-th instruction row of the mix.
  void append_to(TrainingRows& rows, std::uint64_t i) const {
    const std::uint64_t pass = i / size();
    const Permutation order(size(), rng_.at(Stream::kInstructions, pass));
    const std::size_t row = order(i % size());
    const std::array<std::string_view, 3> values = {instructions_[row], inputs_[row].value_or(""), outputs_[row]};
    const Template& prompt = values[kInput].empty() ? without_input_ : with_input_;
    const std::uint64_t id = Hasher().add(values[0]).add(values[1]).add(values[2]).add(row).add(pass).value();
    rows.append(id_text(id), "instruction", prompt.render(values), completion_.render(values));
  }

 private:
  std::vector<std::string_view> instructions_;
  std::vector<std::optional<std::string_view>> inputs_;
  std::vector<std::string_view> outputs_;
  Template with_input_;
  Template without_input_;
  Template completion_;
  Rng rng_;
};

}  // namespace

BatchTable mix(const ArrowTable& prompts, const ArrowTable& instructions, const MixOptions& options,
               std::uint64_t seed) {
  require(options.ratio > 0 && std::isfinite(options.ratio),
          "mix: ratio must be > 0, got " + std::to_string(options.ratio));
  const Rng rng{seed};
  const Synthetic synthetic(prompts);
  const Instructions instruction_rows(instructions, options, rng);
  const auto wanted = static_cast<std::uint64_t>(std::llround(static_cast<double>(synthetic.size()) / options.ratio));
  require(synthetic.size() > 0, "mix: the prompts table is empty");
  require(wanted == 0 || instruction_rows.size() > 0,
          "mix: " + std::to_string(wanted) + " instruction rows are wanted, but the table holds none");
  const std::uint64_t total = synthetic.size() + wanted;
  TrainingRows rows;
  std::size_t next_prompt = 0;
  // The mix is cut into `wanted` stretches of equal length; each has its instruction row at a random place.
  for (std::uint64_t i = 0; i < wanted; ++i) {
    const std::uint64_t begin = total * i / wanted;
    const std::uint64_t end = total * (i + 1) / wanted;
    const std::uint64_t place = begin + rng.at(Stream::kInterleaving, i).below(end - begin);
    for (std::uint64_t row = begin; row < end; ++row) {
      if (row == place) {
        instruction_rows.append_to(rows, i);
      } else {
        synthetic.append_to(rows, next_prompt++);
      }
    }
  }
  while (next_prompt < synthetic.size()) synthetic.append_to(rows, next_prompt++);
  return rows.finish();
}

}  // namespace syco
