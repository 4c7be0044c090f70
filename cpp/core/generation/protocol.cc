#include "core/generation/protocol.h"

#include <algorithm>
#include <span>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/json.h"

namespace syco {
namespace {

// Slots as protocols write them. After the compiled values come those that compiling replaces by others.
constexpr int kClaim = kNumValues;
constexpr int kName = kNumValues + 1;
constexpr int kOpinion = kNumValues + 2;
constexpr int kChoices = kNumValues + 3;
constexpr int kNumSlots = kNumValues + 4;
using SlotNames = std::array<std::string_view, kNumSlots>;

// Names that a text may use; a slot without a name cannot be written.
constexpr SlotNames text_slots() {
  SlotNames names = {};
  names[kOpinion] = "opinion";
  names[kClaim] = "claim";
  names[kChoices] = "choices";
  return names;
}

constexpr SlotNames arm_slots() {
  SlotNames names = {};
  names[kClaim] = "claim";
  names[kName] = "name";
  names[kAge] = "age";
  names[kSchool1] = "school1";
  names[kSchool2] = "school2";
  return names;
}

Template joined(std::initializer_list<Template::Piece> pieces) {
  SlotNames names;
  std::array<std::string, kNumSlots> texts;
  std::string text;
  for (int i = 0; i < kNumSlots; ++i) {
    const auto at = static_cast<std::size_t>(i);
    texts[at] = std::to_string(i);
    names[at] = texts[at];
  }
  for (const Template::Piece& piece : pieces) text += piece.literal + "{" + std::to_string(piece.slot) + "}";
  return Template::parse(text, names, "protocol");
}

// Puts the primitive values in place of {claim} and {name}.
Template compiled(const Template& text) {
  static const Template kClaimParts = joined({{"", kClaimText}, {"", kClaimJoint}, {"", kClaimLabel}});
  static const Template kNameParts = joined({{"", kFirstName}, {" ", kLastName}});
  return text.with(kClaim, kClaimParts).with(kName, kNameParts);
}

bool uses_persona(const Template& text) {
  return text.uses(kFirstName) || text.uses(kAge) || text.uses(kSchool1) || text.uses(kSchool2);
}

std::array<Template, kNumOrders> read_choices(const Json& json, const std::string& where) {
  std::array<Template, kNumOrders> choices;
  for (std::size_t order = 0; order < kNumOrders; ++order) {
    const std::string key(kOrderNames[order]);
    choices[order] = Template::parse(json_text(json, key, where), {}, where + ", " + key);
  }
  require(json["agree_first"] != json["disagree_first"],
          where + ": agree_first and disagree_first must differ, got the same text in both");
  return choices;
}

// Fills the opinion of one arm and the choices of both orders into `text`.
void add_arm(Arm arm, const Template& text, const Template& opinion, std::span<const Template> choices,
             PromptTemplate& out) {
  const auto a = static_cast<std::size_t>(arm);
  for (std::size_t order = 0; order < kNumOrders; ++order) {
    out.texts[a][order] = compiled(text.with(kOpinion, opinion).with(kChoices, choices[order]));
    out.turns[a][order] = split_turns(out.texts[a][order], out.name);
  }
  out.arms[a] = true;
  out.uses_persona[a] = uses_persona(out.texts[a][0]);
}

// What a template may hold; the keys that only describe it included.
constexpr std::array<std::string_view, 8> kTemplateKeys = {"id",   "kinds",   "split", "text",
                                                           "arms", "speaker", "note",  "opinion_position"};

void check_keys(const Json& json, const std::string& where) {
  for (const auto& [key, unused] : json.items()) {
    require(std::ranges::find(kTemplateKeys, key) != kTemplateKeys.end(),
            where + ": unknown key '" + key +
                "'; a template has id, kinds, split, text, arms, and maybe speaker, opinion_position, note");
  }
}

std::string read_split(const Json& json, const std::string& where) {
  if (!json.contains("split")) return {};
  std::string split = json_text(json, "split", where);
  require(split == "train" || split == "test",
          where + ": split must be train or test, got '" + split + "'; leave it out for both");
  return split;
}

PromptTemplate read_template(const Json& json, const std::string& protocol, std::span<const Template> choices) {
  PromptTemplate result;
  result.id = json_text(json, "id", protocol + ": a template");
  result.name = protocol + "/" + result.id;
  const std::string& where = result.name;
  result.kinds = json_texts(json, "kinds", where);
  check_keys(json, where);
  result.split = read_split(json, where);
  const Template text = Template::parse(json_text(json, "text", where), text_slots(), where + ", text");
  require(text.uses(kClaim) && text.uses(kChoices), where + ": the text must hold {claim} and {choices}");
  const Json& arms = json_object(json, "arms", where);
  require(arms.contains("none") && arms["none"] == "", where + ": arm none must be there, as an empty text");
  bool has_opinion = false;
  for (const auto& [name, unused] : arms.items()) {
    const Arm arm = parse_arm(name);
    const Template opinion = Template::parse(json_text(arms, name, where), arm_slots(), where + ", arm " + name);
    require(arm == Arm::kNone || text.uses(kOpinion),
            where + ": arm " + name + " is unused, the text has no {opinion}");
    has_opinion = has_opinion || arm != Arm::kNone;
    add_arm(arm, text, opinion, choices, result);
  }
  require(!arms.contains("agree") || !arms.contains("disagree") || arms["agree"] != arms["disagree"],
          where + ": arms agree and disagree must differ, got the same text in both");
  require(has_opinion || !text.uses(kOpinion), where + ": the slot {opinion} is unused, arm none is the only one");
  return result;
}

std::vector<std::string> read_ages(const Json& json, const std::string& where) {
  constexpr std::int64_t kOldest = 150;
  const Json& range = json_object(json, "ranges", where);
  require(range.contains("age") && range["age"].is_array() && range["age"].size() == 2 &&
              range["age"][0].is_number_integer() && range["age"][1].is_number_integer(),
          where + ": ranges.age must be two whole numbers");
  const auto first = range["age"][0].get<std::int64_t>();
  const auto last = range["age"][1].get<std::int64_t>();
  require(0 <= first && first <= last && last <= kOldest,
          where + ": ranges.age must be in 0 to 150, got " + range["age"].dump());
  std::vector<std::string> ages;
  for (std::int64_t age = first; age <= last; ++age) ages.push_back(std::to_string(age));
  return ages;
}

}  // namespace

Arm parse_arm(std::string_view name) {
  const auto found = std::ranges::find(kArmNames, name);
  require(found != kArmNames.end(),
          "unknown arm '" + std::string(name) + "'; the arms are none, placebo, agree, disagree");
  return static_cast<Arm>(found - kArmNames.begin());
}

Order parse_order(std::string_view name) {
  const auto found = std::ranges::find(kOrderNames, name);
  require(found != kOrderNames.end(),
          "unknown order '" + std::string(name) + "'; the orders are agree_first, disagree_first");
  return static_cast<Order>(found - kOrderNames.begin());
}

bool PromptTemplate::has_all_arms() const {
  return std::ranges::all_of(arms, [](bool is_there) { return is_there; });
}

bool PromptTemplate::is_in(std::string_view asked_split) const {
  return asked_split.empty() || split.empty() || split == asked_split;
}

bool PromptTemplate::fits(std::string_view kind, std::string_view asked_split) const {
  return std::ranges::find(kinds, kind) != kinds.end() && is_in(asked_split);
}

std::vector<std::string> Protocol::template_ids() const {
  std::vector<std::string> ids;
  ids.reserve(templates.size());
  for (const PromptTemplate& prompt_template : templates) ids.push_back(prompt_template.id);
  return ids;
}

std::vector<std::size_t> Protocol::select(std::string_view kind, const TemplateFilter& filter,
                                          const std::vector<Arm>& arms) const {
  for (const std::string& id : filter.ids) {
    const auto found = std::ranges::find(templates, id, &PromptTemplate::id);
    require(found != templates.end(), "protocol " + name + " has no template '" + id + "'");
    require(found->is_in(filter.split), "protocol " + name + ": template '" + id + "' is of split '" + found->split +
                                            "', but split '" + filter.split + "' is asked for; leave one of them out");
  }
  std::vector<std::size_t> selected;
  for (std::size_t i = 0; i < templates.size(); ++i) {
    const PromptTemplate& candidate = templates[i];
    const bool named = std::ranges::find(filter.ids, candidate.id) != filter.ids.end();
    if (!candidate.fits(kind, filter.split) || !(filter.ids.empty() ? candidate.has_all_arms() : named)) continue;
    for (const Arm arm : arms) {
      require(candidate.has_arm(arm),
              "template " + candidate.name + " lacks arm " + std::string(kArmNames[static_cast<std::size_t>(arm)]));
    }
    selected.push_back(i);
  }
  require(!selected.empty(), "protocol " + name + " has no template for kind '" + std::string(kind) + "'" +
                                 (filter.split.empty() ? "" : ", split '" + filter.split + "'") +
                                 (filter.ids.empty() ? "" : " among those asked for"));
  return selected;
}

Protocol parse_protocol(std::string_view protocol_json, std::string_view names_json) {
  const Json json = parse_json(protocol_json, "protocol");
  const Json names = parse_json(names_json, "names");
  Protocol protocol;
  protocol.name = json_text(json, "name", "protocol");
  const std::string where = "protocol " + protocol.name;
  protocol.digest = Hasher().add(protocol_json).add(names_json).value();
  protocol.first_names = json_texts(names, "first", "names");
  protocol.last_names = json_texts(names, "last", "names");
  protocol.schools = json_texts(json, "schools", where);
  protocol.ages = read_ages(json, where);
  const std::vector<std::string> continuations = json_texts(json, "continuations", where);
  require(continuations.size() == 2, where + ": continuations must be two texts, one a choice");
  require(continuations[0] != continuations[1],
          where + ": continuations must differ, got '" + continuations[0] + "' twice");
  protocol.choices = {continuations[0], continuations[1]};
  const std::array<Template, kNumOrders> choices =
      read_choices(json_object(json, "choices", where), where + ", choices");
  require(json.contains("templates") && json["templates"].is_array() && !json["templates"].empty(),
          where + ": templates must be a list of at least one");
  for (const Json& entry : json["templates"]) {
    protocol.templates.push_back(read_template(entry, protocol.name, choices));
    for (std::size_t i = 0; i + 1 < protocol.templates.size(); ++i) {
      require(protocol.templates[i].id != protocol.templates.back().id,
              where + ": two templates have the id '" + protocol.templates[i].id + "'");
    }
  }
  return protocol;
}

}  // namespace syco
