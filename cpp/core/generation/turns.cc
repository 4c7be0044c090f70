#include "core/generation/turns.h"

#include <algorithm>
#include <array>
#include <optional>

#include "core/base/errors.h"

namespace syco {
namespace {

struct Marker {
  std::string_view text;
  Role role;
};
constexpr std::string_view kBetween = "\n\n";
constexpr std::array<Marker, 2> kMarkers = {{{"Human: ", Role::kUser}, {"Assistant: ", Role::kAssistant}}};
constexpr std::string_view kLast = "\n\nAssistant:";  // at the end of a wording, where the reply begins with nothing

// A marker in a literal: [begin, end) of it, what separates it from the turn before included.
struct Found {
  std::size_t begin;
  std::size_t end;
  Role role;
};

// The first marker of `literal` from byte `at` on; a marker needs nothing before it only where the wording begins.
std::optional<Found> next_marker(std::string_view literal, std::size_t at, bool is_start, bool is_end) {
  for (const Marker& marker : kMarkers) {
    if (is_start && at == 0 && literal.starts_with(marker.text)) return Found{0, marker.text.size(), marker.role};
  }
  for (std::size_t begin = literal.find(kBetween, at); begin != std::string_view::npos;
       begin = literal.find(kBetween, begin + 1)) {
    const std::string_view rest = literal.substr(begin + kBetween.size());
    for (const Marker& marker : kMarkers) {
      if (rest.starts_with(marker.text)) {
        return Found{begin, begin + kBetween.size() + marker.text.size(), marker.role};
      }
    }
    if (is_end && literal.substr(begin) == kLast) return Found{begin, literal.size(), Role::kAssistant};
  }
  return std::nullopt;
}

// Turns as they are found. The first may have no marker before it, and hence no role yet.
class Cutter {
 public:
  void say(std::string_view literal, int slot) {
    if (!literal.empty() || slot != Template::kNoSlot) turns_.back().text.append({std::string(literal), slot});
  }

  void hand_over(Role role) {
    if (turns_.size() == 1 && !has_role_) {
      if (turns_.front().text.pieces().empty()) {
        turns_.clear();
      } else {
        turns_.front().role = role == Role::kUser ? Role::kSystem : Role::kUser;
      }
    }
    has_role_ = true;
    turns_.push_back({role, {}});
  }

  std::vector<Turn> finish(const std::string& where) && {
    if (turns_.back().role == Role::kAssistant && turns_.back().text.pieces().empty()) turns_.pop_back();
    const std::size_t first = !turns_.empty() && turns_.front().role == Role::kSystem ? 1 : 0;
    for (std::size_t i = first; i < turns_.size(); ++i) {
      require(turns_[i].role == ((i - first) % 2 == 0 ? Role::kUser : Role::kAssistant),
              where + ": Human and Assistant must speak by turns, Human first, got turn " + std::to_string(i + 1) +
                  " of " + std::string(role_name(turns_[i].role)));
    }
    require(turns_.size() > first, where + ": the wording has no turn of Human");
    return std::move(turns_);
  }

 private:
  std::vector<Turn> turns_ = {{}};
  bool has_role_ = false;
};

}  // namespace

std::string_view role_name(Role role) {
  constexpr std::array<std::string_view, 3> kNames = {"system", "user", "assistant"};
  return kNames[static_cast<std::size_t>(role)];
}

std::vector<Turn> split_turns(const Template& wording, const std::string& where) {
  Cutter cutter;
  const std::vector<Template::Piece>& pieces = wording.pieces();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::string_view literal = pieces[i].literal;
    const bool is_end = i + 1 == pieces.size() && pieces[i].slot == Template::kNoSlot;
    std::size_t at = 0;
    while (const std::optional<Found> found = next_marker(literal, at, i == 0, is_end)) {
      cutter.say(literal.substr(at, found->begin - at), Template::kNoSlot);
      cutter.hand_over(found->role);
      at = found->end;
    }
    cutter.say(literal.substr(at), pieces[i].slot);
  }
  return std::move(cutter).finish(where);
}

}  // namespace syco
