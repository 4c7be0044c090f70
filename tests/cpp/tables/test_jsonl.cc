#include <gtest/gtest.h>

#include <optional>
#include <string_view>
#include <vector>

#include "core/base/errors.h"
#include "core/tables/jsonl.h"
#include "makers/tables.h"

namespace syco {
namespace {

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

}  // namespace
}  // namespace syco
