#include "core/generation/mix.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/rng.h"
#include "core/generation/template.h"
#include "core/generation/turns.h"
#include "core/tables/column_builder.h"

namespace syco {
namespace {

constexpr std::array<std::string_view, 3> kSlots = {"instruction", "input", "output"};
constexpr int kInstruction = 0;
constexpr int kInput = 1;
constexpr int kOutput = 2;
using SaidTurns = std::optional<std::vector<SaidTurn>>;

// The turns of a table's rows; none where it has no such column.
std::vector<SaidTurns> turns_of(const ArrowTable& table) {
  if (table.has_column("turns")) return table.optional_turns("turns");
  return std::vector<SaidTurns>(static_cast<std::size_t>(table.num_rows()));
}

class TrainingRows {
 public:
  void append(const std::array<std::string_view, 3>& id_origin_source, std::string_view prompt,
              std::string_view completion, const SaidTurns& turns) {
    for (std::size_t i = 0; i < names_.size(); ++i) names_[i].append(id_origin_source[i]);
    prompts_.append(prompt);
    completions_.append(completion);
    if (turns) {
      turns_.append(*turns);
    } else {
      turns_.append_null();
    }
    ++num_rows_;
  }

  BatchTable finish() const {
    auto batch = std::make_shared<Batch>();
    batch->num_rows = num_rows_;
    for (const StringBuilder& names : names_) batch->columns.push_back(names.finish());
    batch->columns.push_back(prompts_.finish());
    batch->columns.push_back(completions_.finish());
    batch->columns.push_back(turns_.finish());
    BatchTable table{{{"id", ColumnType::kString},
                      {"origin", ColumnType::kString},
                      {"source", ColumnType::kString},
                      {"prompt", ColumnType::kLargeString},
                      {"completion", ColumnType::kLargeString},
                      {"turns", ColumnType::kTurnList, true}},
                     {}};
    table.batches.push_back(std::move(batch));
    return table;
  }

 private:
  std::array<StringBuilder, 3> names_;  // id, origin, source
  LargeStringBuilder prompts_;
  LargeStringBuilder completions_;
  TurnListBuilder turns_;
  std::int64_t num_rows_ = 0;
};

// The prompts' part of the mix, row by row.
class Synthetic {
 public:
  explicit Synthetic(const ArrowTable& table)
      : ids_(table.strings("id")),
        sources_(table.strings("source")),
        prompts_(table.strings("prompt")),
        choices_(table.string_lists("choices")),
        targets_(table.optional_integers("target")),
        turns_(turns_of(table)) {}

  std::size_t size() const { return ids_.size(); }

  void append_to(TrainingRows& rows, std::size_t i) const {
    const auto& target = targets_[i];
    if (!target || *target < 0 || *target >= std::ssize(choices_[i])) {
      throw DataError("mix: prompt " + std::to_string(i) + " (id " + std::string(ids_[i]) + ") has " +
                      (target ? "target " + std::to_string(*target) : "no target") + " among " +
                      std::to_string(choices_[i].size()) +
                      " choices; only prompts with a right answer can be trained on");
    }
    rows.append({ids_[i], "synthetic", sources_[i]}, prompts_[i], choices_[i][static_cast<std::size_t>(*target)],
                turns_[i]);
  }

 private:
  std::vector<std::string_view> ids_;
  std::vector<std::string_view> sources_;
  std::vector<std::string_view> prompts_;
  std::vector<std::vector<std::string_view>> choices_;
  std::vector<std::optional<std::int64_t>> targets_;
  std::vector<SaidTurns> turns_;
};

// Instruction rows as prompts and completions.
class Instructions {
 public:
  Instructions(const ArrowTable& table, const InstructionWording& wording)
      : instructions_(table.strings("instruction")),
        inputs_(table.optional_strings("input")),
        outputs_(table.strings("output")),
        turns_(turns_of(table)),
        with_input_(Template::parse(wording.with_input, kSlots, "mix: with_input")),
        without_input_(Template::parse(wording.without_input, kSlots, "mix: without_input")),
        completion_(Template::parse(wording.completion, kSlots, "mix: completion")) {
    require(with_input_.uses(kInstruction) && with_input_.uses(kInput) && without_input_.uses(kInstruction) &&
                completion_.uses(kOutput),
            "mix: with_input must hold {instruction} and {input}, without_input {instruction}, completion {output}");
    require(!without_input_.uses(kInput), "mix: without_input must not hold {input}");
    with_input_turns_ = split_turns(with_input_, "mix: with_input");
    without_input_turns_ = split_turns(without_input_, "mix: without_input");
  }

  std::size_t size() const { return instructions_.size(); }

  // Appends a row as it is drawn for the pass-th time.
  void append_to(TrainingRows& rows, std::size_t row, std::uint64_t pass, std::string_view source) const {
    const std::array<std::string_view, 3> values = {instructions_[row], inputs_[row].value_or(""), outputs_[row]};
    const bool has_input = !values[kInput].empty();
    const std::string prompt = (has_input ? with_input_ : without_input_).render(values);
    const std::vector<Turn>& turns = has_input ? with_input_turns_ : without_input_turns_;
    std::vector<std::string> contents;  // of the wording's turns
    SaidTurns said(std::in_place);
    contents.reserve(turns.size());  // so that no text moves once a turn looks at it
    said->reserve(turns.size());
    for (const Turn& turn : turns) {
      said->push_back({role_name(turn.role), contents.emplace_back(turn.text.render(values))});
    }
    const std::uint64_t id =
        Hasher().add(source).add(values[0]).add(values[1]).add(values[2]).add(row).add(pass).value();
    rows.append({id_text(id), "instruction", source}, prompt, completion_.render(values),
                turns_[row] ? turns_[row] : said);
  }

 private:
  std::vector<std::string_view> instructions_;
  std::vector<std::optional<std::string_view>> inputs_;
  std::vector<std::string_view> outputs_;
  std::vector<SaidTurns> turns_;
  Template with_input_;
  Template without_input_;
  Template completion_;
  std::vector<Turn> with_input_turns_;
  std::vector<Turn> without_input_turns_;
};

// Training rows of other origins, as they are.
class Rows {
 public:
  explicit Rows(const ArrowTable& table)
      : names_{table.strings("id"), table.strings("origin"), table.strings("source")},
        prompts_(table.strings("prompt")),
        completions_(table.strings("completion")),
        turns_(turns_of(table)) {}

  std::size_t size() const { return prompts_.size(); }

  void append_to(TrainingRows& rows, std::size_t i) const {
    rows.append({names_[0][i], names_[1][i], names_[2][i]}, prompts_[i], completions_[i], turns_[i]);
  }

 private:
  std::array<std::vector<std::string_view>, 3> names_;  // id, origin, source
  std::vector<std::string_view> prompts_;
  std::vector<std::string_view> completions_;
  std::vector<SaidTurns> turns_;
};

}  // namespace

BatchTable draw_instructions(const ArrowTable& instructions, const std::string& source, std::uint64_t count,
                             const InstructionWording& wording, std::uint64_t seed) {
  const Instructions drawn(instructions, wording);
  require(count == 0 || drawn.size() > 0,
          "mix: " + std::to_string(count) + " instruction rows are wanted of source '" + source + "', but it has none");
  const Rng rng{seed};
  TrainingRows rows;
  for (std::uint64_t begin = 0; begin < count; begin += drawn.size()) {
    const std::uint64_t pass = begin / drawn.size();
    const Permutation order(drawn.size(), rng.at(Stream::kInstructions, pass));
    const std::uint64_t wanted = std::min<std::uint64_t>(drawn.size(), count - begin);
    for (std::uint64_t i = 0; i < wanted; ++i) drawn.append_to(rows, order(i), pass, source);
  }
  return rows.finish();
}

BatchTable mix(const ArrowTable& prompts, const ArrowTable& rows, std::uint64_t seed) {
  const Rng rng{seed};
  const Synthetic synthetic(prompts);
  const Rows others(rows);
  require(synthetic.size() > 0, "mix: the prompts table is empty");
  const std::uint64_t total = synthetic.size() + others.size();
  TrainingRows mixed;
  std::size_t next_prompt = 0;
  // The mix is cut into as many stretches of equal length as there are other rows; each has its own at a random place.
  for (std::uint64_t i = 0; i < others.size(); ++i) {
    const std::uint64_t begin = total * i / others.size();
    const std::uint64_t end = total * (i + 1) / others.size();
    const std::uint64_t place = begin + rng.at(Stream::kInterleaving, i).below(end - begin);
    for (std::uint64_t row = begin; row < end; ++row) {
      if (row == place) {
        others.append_to(mixed, i);
      } else {
        synthetic.append_to(mixed, next_prompt++);
      }
    }
  }
  while (next_prompt < synthetic.size()) synthetic.append_to(mixed, next_prompt++);
  return mixed.finish();
}

}  // namespace syco
