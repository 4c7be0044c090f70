// Who says what: a wording cut into turns at its own "Human: " and "Assistant: ". What fills a slot is never looked at,
// so that a claim which spells out a dialogue stays what the user says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/generation/template.h"

namespace syco {

enum class Role : std::uint8_t { kSystem, kUser, kAssistant };
// By role, as chat templates call them.
std::string_view role_name(Role role);

struct Turn {
  Role role = Role::kUser;
  Template text;

  bool operator==(const Turn&) const = default;
};

// Cuts `wording` where one of its literals begins with "Human: " or goes on with an empty line and "Human: " or
// "Assistant: "; "Assistant:" may also end the wording. What comes before the first of these is the user's, or the
// system's if the user comes next. The last turn may be the assistant's: the beginning of its reply. Throws DataError,
// beginning with `where`, unless user and assistant speak by turns.
std::vector<Turn> split_turns(const Template& wording, const std::string& where);

}  // namespace syco
