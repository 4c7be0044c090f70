#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/base/errors.h"
#include "core/generation/examples.h"
#include "core/tables/jsonl.h"
#include "tables.h"

namespace syco {
namespace {

TEST(CleanField, FollowsThePublication) {
  EXPECT_EQ(clean_field(" a \"quoted\" word\n"), "\"a quoted word\"");
  EXPECT_EQ(clean_field("two\nlines"), "\"twolines\"");
  EXPECT_EQ(clean_field("\t\xC2\xA0 a\r \xE3\x80\x80"), "\"a\"");
  EXPECT_EQ(clean_field(" \" \n"), "");
}

TEST(ReadJsonl, TakesTheKeysItIsAskedFor) {
  const ArrowTable table =
      imported(read_jsonl("{\"a\": \"x\", \"n\": 1, \"more\": [1]}\n\n{\"n\": null, \"a\": null}\r\n{\"n\": \"yes\"}",
                          {{"a"}, "n", {"no", "yes"}}, "f"));
  using Text = std::optional<std::string_view>;
  using Number = std::optional<std::int64_t>;
  EXPECT_EQ(table.optional_strings("a"), (std::vector<Text>{"x", std::nullopt, std::nullopt}));
  EXPECT_EQ(table.optional_integers("n"), (std::vector<Number>{1, std::nullopt, 1}));
}

TEST(ReadJsonl, TakesLabelsThatOtherToolsWrite) {
  const ArrowTable table =
      imported(read_jsonl("{\"n\": 1.0}\n{\"n\": true}\n{\"n\": false}\n{\"n\": -1.0}", {{}, "n", {"no", "yes"}}, "f"));
  EXPECT_EQ(table.integers("n"), (std::vector<std::int64_t>{1, 1, 0, -1}));
  for (const char* text : {"{\"n\": 0.5}", "{\"n\": 1e300}"}) {
    EXPECT_THROW(read_jsonl(text, {{}, "n", {"no", "yes"}}, "f"), DataError) << text;
  }
}

TEST(ReadJsonl, KeepsNumbersThatAreNoLabel) {
  const ArrowTable table = imported(read_jsonl("{\"n\": 18446744073709551615}\n{\"n\": -5}", {{}, "n", {"no"}}, "f"));
  EXPECT_EQ(table.integers("n"), (std::vector<std::int64_t>{INT64_MAX, -5}));
}

TEST(ReadJsonl, RefusesWhatIsNoLine) {
  for (const char* text : {"", "1", "{", "{\"a\": \"\xFF\"}", R"({"a": "\ud800"})", R"({"a": 1})"}) {
    EXPECT_THROW(read_jsonl(text, {{"a"}, "", {}}, "f"), DataError) << text;
  }
}

TEST(CleanExamples, CountsEveryReason) {
  const ArrowTable raw = TableOf()
                             .texts("text", {"a", "a", "b", "b", "c", "d", " ", "e"})
                             .nullable_integers("label", {0, 0, 0, 1, -1, 2, 1, std::nullopt})
                             .imported();
  const CleanedExamples cleaned = clean_examples(raw, {"s", {"text"}, "label", {"no", "yes"}});
  EXPECT_EQ(imported(cleaned.table).strings("input"), std::vector<std::string_view>{"\"a\""});
  const DropCounts wanted{
      .unlabelled = 2, .label_out_of_range = 1, .empty_text = 1, .conflicting_label = 2, .duplicate = 1};
  EXPECT_EQ(cleaned.dropped, wanted);
}

TEST(SamplePositions, AreDifferentAndAscending) {
  const std::vector<std::int64_t> drawn = sample_positions(1000, 100, 4);
  EXPECT_EQ(std::set<std::int64_t>(drawn.begin(), drawn.end()).size(), 100U);
  EXPECT_TRUE(std::ranges::is_sorted(drawn));
  EXPECT_NE(drawn, sample_positions(1000, 100, 5));
  EXPECT_EQ(sample_positions(3, 3, 0), (std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_THROW(sample_positions(3, 4, 0), DataError);
}

}  // namespace
}  // namespace syco
