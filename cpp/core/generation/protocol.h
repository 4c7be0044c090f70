// A protocol: all wording of prompts, read from JSON and checked. Every (template, arm, order) is compiled to one flat
// template over the values below.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/arms.h"
#include "core/generation/template.h"
#include "core/generation/turns.h"

namespace syco {

// Throws DataError if `name` is no arm, or no order.
Arm parse_arm(std::string_view name);
Order parse_order(std::string_view name);

// The values of a compiled template. A claim comes in three parts, so that "{input} is {label}" need not be joined
// before it is written; a name in two.
enum Value : int { kClaimText, kClaimJoint, kClaimLabel, kFirstName, kLastName, kAge, kSchool1, kSchool2, kNumValues };
using Values = std::array<std::string_view, kNumValues>;

struct PromptTemplate {
  std::string id;    // "before_first_1"
  std::string name;  // "factorial/before_first_1"
  std::vector<std::string> kinds;
  std::string split;                                                      // "train" or "test"; empty: every split
  std::array<bool, kNumArms> arms = {};                                   // which arms the template has
  std::array<std::array<Template, kNumOrders>, kNumArms> texts;           // compiled, by arm and order
  std::array<std::array<std::vector<Turn>, kNumOrders>, kNumArms> turns;  // the same, as said by turns
  std::array<bool, kNumArms> uses_persona = {};

  bool has_arm(Arm arm) const { return arms[static_cast<std::size_t>(arm)]; }
  bool has_all_arms() const;
  bool is_in(std::string_view asked_split) const;
  bool fits(std::string_view kind, std::string_view asked_split) const;
};

// What templates = None, or a list of ids, and a split stand for.
struct TemplateFilter {
  std::vector<std::string> ids;  // empty: every template that has all four arms
  std::string split;             // empty: every split
};

struct Protocol {
  std::string name;
  std::uint64_t digest = 0;  // of the protocol's text, names included: part of a prompt's id
  std::array<std::string, 2> choices;
  std::vector<std::string> first_names;
  std::vector<std::string> last_names;
  std::vector<std::string> schools;
  std::vector<std::string> ages;  // as text
  std::vector<PromptTemplate> templates;

  std::vector<std::string> template_ids() const;
  // Number of different names that personas can have.
  std::size_t num_names() const { return first_names.size() * last_names.size(); }
  // Indices of the templates for claims of `kind`. Throws DataError if an id is unknown or of another split, or if none
  // is left, or one of them lacks one of `arms`.
  std::vector<std::size_t> select(std::string_view kind, const TemplateFilter& filter,
                                  const std::vector<Arm>& arms) const;
};

// Reads a protocol (format: docs of sycophancy_core.generation.load_protocol) and the names that personas get:
// {"first": [...], "last": [...]}. Throws DataError, saying where, if a key is missing or unknown, a slot is unknown or
// unused, a split is neither train nor test, an arm is missing, or agree and disagree, or the choices, are the same.
Protocol parse_protocol(std::string_view protocol_json, std::string_view names_json);

}  // namespace syco
