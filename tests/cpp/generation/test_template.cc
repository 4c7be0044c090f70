#include <gtest/gtest.h>

#include <array>

#include "core/base/errors.h"
#include "core/generation/template.h"
#include "makers/expect_error.h"

namespace syco {
namespace {

constexpr std::array<std::string_view, 2> kSlots = {"claim", "name"};

Template parse(std::string_view text) { return Template::parse(text, kSlots, "test"); }

std::string render(std::string_view text, std::string_view claim, std::string_view name) {
  const std::array<std::string_view, 2> values = {claim, name};
  return parse(text).render(values);
}

TEST(Template, FillsEverySlot) {
  EXPECT_EQ(render("I am {name}: {claim}, {claim}.", "X is Y", "Ana"), "I am Ana: X is Y, X is Y.");
}

TEST(Template, NeverLooksAtAValueAgain) {
  EXPECT_EQ(render("{name} {claim}", "{name} %s {{ }", "{claim}"), "{claim} {name} %s {{ }");
}

TEST(Template, DoubledBracesAreBraces) { EXPECT_EQ(render("{{name}} {name} }}{{", "", "Ana"), "{name} Ana }{"); }

TEST(Template, TakesEmptyTextsAndValues) {
  EXPECT_EQ(render("", "a", "b"), "");
  EXPECT_EQ(render("{claim}{name}", "", ""), "");
  EXPECT_EQ(render("{claim}", std::string_view("a\0b", 3), ""), std::string("a\0b", 3));
}

TEST(Template, PutsATemplateInPlaceOfASlot) {
  const Template joined = parse("<{name}> {claim}").with(1, parse("{claim}, {claim}"));
  EXPECT_EQ(joined, parse("<{claim}, {claim}> {claim}"));
  EXPECT_FALSE(joined.uses(1));
}

TEST(Template, KnowsWhereASlotBegins) {
  const std::array<std::string_view, 2> values = {"X", "Ana"};
  EXPECT_EQ(parse("I am {name}: {claim}").offset_of(0, values), 10U);
  EXPECT_EQ(parse("I am {name}: {claim}").size(values), 11U);
}

void expect_refused(std::string_view text, const std::string& part) {
  expect_error([&] { parse(text); }, part);
}

TEST(Template, RefusesUnknownSlotsAndLooseBraces) {
  expect_refused("{age}", "test: unknown slot {age}; the slots here are: {claim}, {name}");
  expect_refused("{}", "unknown slot {}");
  expect_refused("a {claim", "brace at byte 2 has no partner");
  expect_refused("a } b", "brace at byte 2 has no partner");
  expect_refused("{cl{aim}", "unknown slot {cl{aim}");
}

}  // namespace
}  // namespace syco
