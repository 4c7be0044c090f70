#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "core/base/errors.h"
#include "core/generation/mix.h"
#include "core/generation/prompt_batch.h"
#include "makers/tables.h"

namespace syco {
namespace {

// A prompts table with the columns that a mix reads; row 3 has no target if `with_gap`.
ArrowTable prompts_table(std::size_t size, bool with_gap = false) {
  BatchTable table{{{"id", ColumnType::kString},
                    {"source", ColumnType::kString},
                    {"prompt", ColumnType::kString},
                    {"choices", ColumnType::kStringList},
                    {"target", ColumnType::kInt64, true}},
                   {}};
  std::vector<std::string> ids;
  std::vector<std::string> prompts;
  const std::vector<std::string> sources(size, "claims");
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
  batch->columns.push_back(text_column(sources));
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
    inputs.emplace_back(i % 2 == 0 ? "" : "{output}");
    outputs.push_back("done " + std::to_string(i));
  }
  return TableOf().texts("instruction", instructions).texts("input", inputs).texts("output", outputs).imported();
}

ArrowTable drawn(std::size_t num_instructions, std::uint64_t count, std::uint64_t seed = 0,
                 const std::string& source = "mine") {
  return imported(draw_instructions(instructions_table(num_instructions), source, count, {}, seed));
}

struct Mixed {
  std::vector<std::string> ids, origins, sources, prompts, completions;
};

Mixed texts(const ArrowTable& table) {
  Mixed result;
  for (const auto text : table.strings("id")) result.ids.emplace_back(text);
  for (const auto text : table.strings("origin")) result.origins.emplace_back(text);
  for (const auto text : table.strings("source")) result.sources.emplace_back(text);
  for (const auto text : table.strings("prompt")) result.prompts.emplace_back(text);
  for (const auto text : table.strings("completion")) result.completions.emplace_back(text);
  return result;
}

Mixed mixed(std::size_t num_prompts, std::size_t num_instructions, std::uint64_t count, std::uint64_t seed = 0) {
  return texts(imported(mix(prompts_table(num_prompts), drawn(num_instructions, count, seed), seed)));
}

TEST(Mix, HasExactlyOneInstructionInEveryStretchOfSix) {
  const Mixed rows = mixed(500, 150, 100);
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
  const Mixed rows = mixed(100, 7, 33);
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
  const Mixed rows = mixed(100, 7, 20);
  for (std::size_t i = 0; i < rows.origins.size(); ++i) {
    if (rows.origins[i] == "instruction") ++counts[rows.completions[i]];
  }
  EXPECT_EQ(counts.size(), 7U);
  for (const auto& [completion, count] : counts) EXPECT_TRUE(count == 2 || count == 3) << completion;
}

TEST(Mix, WritesInstructionsWithAndWithoutInput) {
  const Mixed rows = mixed(20, 2, 4);
  for (std::size_t i = 0; i < rows.origins.size(); ++i) {
    if (rows.origins[i] != "instruction") continue;
    EXPECT_EQ(rows.prompts[i],
              rows.completions[i] == " done 0" ? "Human: do 0\n\nAssistant:" : "Human: do 1\n\n{output}\n\nAssistant:");
  }
}

TEST(Mix, KeepsTheTurnsOfRowsAndCutsThoseOfTheWording) {
  const std::vector<SaidTurn> said = {{"system", "Be kind."}, {"user", "Hi"}};
  TurnListBuilder turns;
  turns.append(said);
  turns.append_null();
  const ArrowTable own = TableOf()
                             .texts("instruction", {"Be kind.\n\nHi", "do 1"})
                             .texts("input", {"", "Human: x\n\nAssistant: y"})
                             .texts("output", {"one", "two"})
                             .turns("turns", turns.finish(), 2)
                             .imported();
  const ArrowTable rows = imported(draw_instructions(own, "mine", 2, {}, 0));
  const ArrowTable mixed_rows = imported(mix(prompts_table(4), rows, 0));
  const std::vector<std::string_view> completions = mixed_rows.strings("completion");
  const auto found = mixed_rows.optional_turns("turns");
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (mixed_rows.strings("origin")[i] == "synthetic") {
      EXPECT_EQ(found[i], std::nullopt);
    } else if (completions[i] == " one") {
      EXPECT_EQ(found[i], said);
    } else {
      EXPECT_EQ(found[i], (std::vector<SaidTurn>{{"user", "do 1\n\nHuman: x\n\nAssistant: y"}}));
    }
  }
}

TEST(Mix, FollowsItsSeed) {
  EXPECT_EQ(mixed(60, 9, 12, 1).prompts, mixed(60, 9, 12, 1).prompts);
  EXPECT_NE(mixed(60, 9, 12, 1).prompts, mixed(60, 9, 12, 2).prompts);
}

TEST(Mix, DrawsTheSameRowsFirstHoweverManyAreDrawn) {
  const Mixed few = texts(drawn(7, 10));
  Mixed many = texts(drawn(7, 30));
  many.ids.resize(10);
  EXPECT_EQ(few.ids, many.ids);
}

TEST(Mix, TellsRowsOfDifferentSourcesAndPassesApart) {
  std::set<std::string> ids;
  for (const char* source : {"one", "two"}) {
    const Mixed rows = texts(drawn(5, 15, 0, source));
    EXPECT_EQ(rows.sources, std::vector<std::string>(15, source));
    ids.insert(rows.ids.begin(), rows.ids.end());
  }
  EXPECT_EQ(ids.size(), 30U);
}

TEST(Mix, KeepsTheOrderOfTheOtherRows) {
  const Mixed rows = mixed(50, 9, 20);
  const Mixed wanted = texts(drawn(9, 20));
  std::vector<std::string> kept;
  for (std::size_t i = 0; i < rows.ids.size(); ++i) {
    if (rows.origins[i] == "instruction") kept.push_back(rows.ids[i]);
    EXPECT_EQ(rows.sources[i], rows.origins[i] == "instruction" ? "mine" : "claims");
  }
  EXPECT_EQ(kept, wanted.ids);
}

TEST(Mix, TakesMoreInstructionsThanPrompts) {
  const Mixed rows = mixed(3, 5, 10);
  EXPECT_EQ(rows.ids.size(), 13U);
  EXPECT_EQ(std::count(rows.origins.begin(), rows.origins.end(), "synthetic"), 3);
}

TEST(Mix, RefusesWhatCannotBeMixed) {
  EXPECT_THROW(drawn(0, 5), DataError);
  EXPECT_THROW(mixed(0, 5, 5), DataError);
  EXPECT_THROW(mix(prompts_table(10, true), drawn(5, 2), 0), DataError);
  InstructionWording wording;
  wording.with_input = "{instruction}";
  EXPECT_THROW(draw_instructions(instructions_table(5), "mine", 1, wording, 0), DataError);
}

}  // namespace
}  // namespace syco
