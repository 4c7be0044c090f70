#include <gtest/gtest.h>

#include <map>
#include <string>

#include "core/errors.h"
#include "core/mix.h"
#include "core/prompt_batch.h"
#include "tables.h"

namespace syco {
namespace {

// A prompts table with the columns that a mix reads; row 3 has no target if `with_gap`.
ArrowTable prompts_table(std::size_t size, bool with_gap = false) {
  BatchTable table{{{"id", ColumnType::kString},
                    {"prompt", ColumnType::kString},
                    {"choices", ColumnType::kStringList},
                    {"target", ColumnType::kInt64, true}},
                   {}};
  std::vector<std::string> ids;
  std::vector<std::string> prompts;
  std::vector<std::int64_t> targets;
  std::vector<bool> has_target;
  StringBuilder choices;
  std::vector<std::int32_t> ends = {0};
  for (std::size_t i = 0; i < size; ++i) {
    ids.push_back("p" + std::to_string(i));
    prompts.push_back("prompt " + std::to_string(i));
    targets.push_back(static_cast<std::int64_t>(i % 2));
    has_target.push_back(!with_gap || i != 3);
    choices.append(" (A)");
    choices.append(" (B)");
    ends.push_back(static_cast<std::int32_t>(2 * (i + 1)));
  }
  auto batch = std::make_shared<Batch>();
  batch->num_rows = static_cast<std::int64_t>(size);
  batch->columns.push_back(text_column(ids));
  batch->columns.push_back(text_column(prompts));
  ColumnData items = choices.finish();
  ColumnData lists;
  lists.offsets = number_column(ends).values;
  lists.item_offsets = std::move(items.offsets);
  lists.values = std::move(items.values);
  lists.num_items = static_cast<std::int64_t>(2 * size);
  batch->columns.push_back(std::move(lists));
  ColumnData target = number_column(targets);
  set_validity(has_target, target);
  batch->columns.push_back(std::move(target));
  table.batches.push_back(batch);
  return imported(table);
}

ArrowTable instructions_table(std::size_t size) {
  std::vector<std::string> instructions;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  for (std::size_t i = 0; i < size; ++i) {
    instructions.push_back("do " + std::to_string(i));
    inputs.push_back(i % 2 == 0 ? "" : "{output}");
    outputs.push_back("done " + std::to_string(i));
  }
  return TableOf().texts("instruction", instructions).texts("input", inputs).texts("output", outputs).imported();
}

struct Mixed {
  std::vector<std::string> origins, prompts, completions;
};

Mixed mixed(std::size_t num_prompts, std::size_t num_instructions, double ratio, std::uint64_t seed = 0) {
  MixOptions options;
  options.ratio = ratio;
  const ArrowTable table =
      imported(mix(prompts_table(num_prompts), instructions_table(num_instructions), options, seed));
  Mixed result;
  for (const auto text : table.strings("origin")) result.origins.emplace_back(text);
  for (const auto text : table.strings("prompt")) result.prompts.emplace_back(text);
  for (const auto text : table.strings("completion")) result.completions.emplace_back(text);
  return result;
}

TEST(Mix, HasExactlyOneInstructionInEveryStretchOfSix) {
  const Mixed rows = mixed(500, 150, 5.0);
  ASSERT_EQ(rows.origins.size(), 600U);
  std::map<std::size_t, int> places;
  for (std::size_t i = 0; i < rows.origins.size(); i += 6) {
    int count = 0;
    for (std::size_t place = 0; place < 6; ++place) {
      if (rows.origins[i + place] != "instruction") continue;
      ++count;
      ++places[place];
    }
    EXPECT_EQ(count, 1);
  }
  EXPECT_EQ(places.size(), 6U);
}

TEST(Mix, KeepsThePromptsInOrderWithTheirRightChoice) {
  const Mixed rows = mixed(100, 7, 3.0);
  std::size_t next = 0;
  for (std::size_t i = 0; i < rows.origins.size(); ++i) {
    if (rows.origins[i] != "synthetic") continue;
    EXPECT_EQ(rows.prompts[i], "prompt " + std::to_string(next));
    EXPECT_EQ(rows.completions[i], next % 2 == 0 ? " (A)" : " (B)");
    ++next;
  }
  EXPECT_EQ(next, 100U);
  EXPECT_EQ(rows.origins.size(), 133U);
}

TEST(Mix, UsesEveryInstructionBeforeOneComesAgain) {
  std::map<std::string, int> counts;
  const Mixed rows = mixed(100, 7, 5.0);
  for (std::size_t i = 0; i < rows.origins.size(); ++i) {
    if (rows.origins[i] == "instruction") ++counts[rows.completions[i]];
  }
  EXPECT_EQ(counts.size(), 7U);
  for (const auto& [completion, count] : counts) EXPECT_TRUE(count == 2 || count == 3) << completion;
}

TEST(Mix, WritesInstructionsWithAndWithoutInput) {
  const Mixed rows = mixed(20, 2, 5.0);
  for (std::size_t i = 0; i < rows.origins.size(); ++i) {
    if (rows.origins[i] != "instruction") continue;
    EXPECT_EQ(rows.prompts[i],
              rows.completions[i] == " done 0" ? "Human: do 0\n\nAssistant:" : "Human: do 1\n\n{output}\n\nAssistant:");
  }
}

TEST(Mix, FollowsItsSeed) {
  EXPECT_EQ(mixed(60, 9, 5.0, 1).prompts, mixed(60, 9, 5.0, 1).prompts);
  EXPECT_NE(mixed(60, 9, 5.0, 1).prompts, mixed(60, 9, 5.0, 2).prompts);
}

TEST(Mix, RefusesWhatCannotBeMixed) {
  EXPECT_THROW(mixed(10, 5, 0.0), DataError);
  EXPECT_THROW(mixed(10, 5, -1.0), DataError);
  EXPECT_THROW(mixed(10, 0, 5.0), DataError);
  EXPECT_THROW(mixed(0, 5, 5.0), DataError);
  EXPECT_THROW(mix(prompts_table(10, true), instructions_table(5), {}, 0), DataError);
  MixOptions options;
  options.with_input = "{instruction}";
  EXPECT_THROW(mix(prompts_table(10), instructions_table(5), options, 0), DataError);
}

}  // namespace
}  // namespace syco
