#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/base/errors.h"
#include "core/generation/examples.h"
#include "makers/tables.h"

namespace syco {
namespace {

TEST(CleanField, FollowsThePublication) {
  EXPECT_EQ(clean_field(" a \"quoted\" word\n"), "\"a quoted word\"");
  EXPECT_EQ(clean_field("two\nlines"), "\"twolines\"");
  EXPECT_EQ(clean_field("\t\xC2\xA0 a\r \xE3\x80\x80"), "\"a\"");
  EXPECT_EQ(clean_field(" \" \n"), "");
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
