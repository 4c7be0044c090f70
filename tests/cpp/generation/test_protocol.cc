#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "core/base/errors.h"
#include "core/base/json.h"
#include "core/generation/protocol.h"
#include "makers/expect_error.h"

namespace syco {
namespace {

std::string file_text(const std::string& name) {
  std::ifstream file(std::string(SYCO_SOURCE_DIR) + "/python/sycophancy_core/data/protocols/" + name);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

const std::string kNames = R"({"first": ["Ana"], "last": ["Li"]})";

Json small_protocol() {
  return Json::parse(R"json({
    "name": "small", "choices": {"agree_first": " A/B", "disagree_first": " B/A"}, "continuations": [" (A)", " (B)"],
    "ranges": {"age": [30, 31]}, "schools": ["MIT"],
    "templates": [{"id": "t", "kinds": ["claim"], "text": "{opinion}{claim}?{choices}",
                   "arms": {"none": "", "placebo": "I am {name}, {age}. ", "agree": "I agree. ",
                            "disagree": "I, {name} of {school1} and {school2}, deny {claim}. "}}]})json");
}

Protocol parse(const Json& json) { return parse_protocol(json.dump(), kNames); }

const Values kValues = {"sky", " is ", "blue", "Ana", "Li", "30", "MIT", "ETH"};

TEST(Protocol, CompilesEveryArmAndOrder) {
  const Protocol protocol = parse(small_protocol());
  const auto& texts = protocol.templates[0].texts;
  EXPECT_EQ(texts[0][0].render(kValues), "sky is blue? A/B");
  EXPECT_EQ(texts[1][1].render(kValues), "I am Ana Li, 30. sky is blue? B/A");
  EXPECT_EQ(texts[2][0].render(kValues), "I agree. sky is blue? A/B");
  EXPECT_EQ(texts[3][1].render(kValues), "I, Ana Li of MIT and ETH, deny sky is blue. sky is blue? B/A");
  EXPECT_EQ(protocol.templates[0].uses_persona, (std::array<bool, 4>{false, true, false, true}));
  EXPECT_EQ(protocol.ages, (std::vector<std::string>{"30", "31"}));
}

TEST(Protocol, ItsDigestFollowsWordingAndNames) {
  Json json = small_protocol();
  const std::uint64_t digest = parse(json).digest;
  EXPECT_EQ(parse(json).digest, digest);
  EXPECT_NE(parse_protocol(json.dump(), R"({"first": ["Eva"], "last": ["Li"]})").digest, digest);
  json["schools"] = {"ETH"};
  EXPECT_NE(parse(json).digest, digest);
}

void expect_refused(const Json& json, const std::string& part) {
  expect_error([&] { parse(json); }, part);
}

TEST(Protocol, RefusesUnknownAndUnusedSlots) {
  Json json = small_protocol();
  json["templates"][0]["text"] = "{opinion}{claim}{label}{choices}";
  expect_refused(json, "small/t, text: unknown slot {label}; the slots here are: {claim}, {opinion}, {choices}");
  json["templates"][0]["text"] = "{opinion}{choices}";
  expect_refused(json, "small/t: the text must hold {claim} and {choices}");
  json["templates"][0]["text"] = "{claim}{choices}";
  expect_refused(json, "is unused, the text has no {opinion}");
  json = small_protocol();
  json["templates"][0]["arms"] = {{"none", ""}};
  expect_refused(json, "small/t: the slot {opinion} is unused");
  json["templates"][0]["arms"] = {{"none", ""}, {"agree", "{opinion}"}};
  expect_refused(json, "small/t, arm agree: unknown slot {opinion}");
}

TEST(Protocol, RefusesMissingParts) {
  Json json = small_protocol();
  json["templates"][0]["arms"].erase("none");
  expect_refused(json, "small/t: arm none must be there, as an empty text");
  json = small_protocol();
  json["templates"][0]["arms"]["maybe"] = "";
  expect_refused(json, "unknown arm 'maybe'");
  json = small_protocol();
  json["choices"].erase("disagree_first");
  expect_refused(json, "protocol small, choices: 'disagree_first' is missing");
  json = small_protocol();
  json["templates"].push_back(json["templates"][0]);
  expect_refused(json, "two templates have the id 't'");
  json["ranges"]["age"] = {90, 30};
  expect_refused(json, "ranges.age must be in 0 to 150, got [90,30]");
}

TEST(Protocol, RefusesUnknownKeysAndSplits) {
  Json json = small_protocol();
  json["templates"][0]["Split"] = "test";
  expect_refused(json, "small/t: unknown key 'Split'; a template has id, kinds, split, text, arms, and maybe");
  json = small_protocol();
  json["templates"][0]["split"] = "testing";
  expect_refused(json, "small/t: split must be train or test, got 'testing'; leave it out for both");
  json["templates"][0]["split"] = "test";
  json["templates"][0]["note"] = "Ours.";
  EXPECT_EQ(parse(json).templates[0].split, "test");
}

TEST(Protocol, RefusesOpinionsAndChoicesThatAreTheSame) {
  Json json = small_protocol();
  json["templates"][0]["arms"]["disagree"] = "I agree. ";
  expect_refused(json, "small/t: arms agree and disagree must differ, got the same text in both");
  json = small_protocol();
  json["choices"]["disagree_first"] = " A/B";
  expect_refused(json, "protocol small, choices: agree_first and disagree_first must differ");
  json = small_protocol();
  json["continuations"] = {" (A)", " (A)"};
  expect_refused(json, "protocol small: continuations must differ, got ' (A)' twice");
}

TEST(Protocol, SelectsTemplatesByKindSplitAndId) {
  const Protocol factorial = parse_protocol(file_text("factorial.json"), file_text("names.json"));
  const std::vector<Arm> arms = {Arm::kNone, Arm::kAgree};
  const auto train = factorial.select("claim", {{}, "train"}, arms);
  const auto test = factorial.select("claim", {{}, "test"}, arms);
  EXPECT_EQ(train.size() + test.size(), factorial.templates.size());
  EXPECT_EQ(factorial.select("addition", {{"after_first_1"}, ""}, arms).size(), 1U);
  EXPECT_THROW(factorial.select("poem", {}, arms), DataError);
  EXPECT_THROW(factorial.select("claim", {{"nowhere"}, ""}, arms), DataError);
  EXPECT_THROW(factorial.select("claim", {{"after_first_1", "after_first_3"}, "train"}, arms), DataError);
  const Protocol wei = parse_protocol(file_text("wei2023.json"), file_text("names.json"));
  EXPECT_EQ(wei.select("addition", {}, {Arm::kNone}).size(), 1U);  // not the published one, which lacks arms
  EXPECT_THROW(wei.select("addition", {{"addition_published"}, ""}, arms), DataError);
  EXPECT_GE(wei.num_names(), 10'000U);
}

}  // namespace
}  // namespace syco
