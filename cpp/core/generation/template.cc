#include "core/generation/template.h"

#include <algorithm>
#include <cstring>

#include "core/base/errors.h"

namespace syco {
namespace {

char* write(std::string_view text, char* out) {
  if (!text.empty()) std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

std::string slot_list(std::span<const std::string_view> slots) {
  std::string list;
  for (const std::string_view slot : slots) {
    if (!slot.empty()) list += (list.empty() ? "{" : ", {") + std::string(slot) + "}";
  }
  return list.empty() ? "none" : list;
}

}  // namespace

void Template::append(const Piece& piece) {
  if (!pieces_.empty() && pieces_.back().slot == kNoSlot) {
    pieces_.back().literal += piece.literal;
    pieces_.back().slot = piece.slot;
  } else {
    pieces_.push_back(piece);
  }
}

Template Template::parse(std::string_view text, std::span<const std::string_view> slots, const std::string& where) {
  Template result;
  Piece piece;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c != '{' && c != '}') {
      piece.literal += c;
      continue;
    }
    if (at + 1 < text.size() && text[at + 1] == c) {
      piece.literal += c;
      ++at;
      continue;
    }
    const std::size_t end = text.find('}', at);
    require(c == '{' && end != std::string_view::npos,
            where + ": a brace at byte " + std::to_string(at) + " has no partner; write {{ or }} for a brace");
    const std::string_view name = text.substr(at + 1, end - at - 1);
    const auto found = std::ranges::find(slots, name);
    require(!name.empty() && found != slots.end(),
            where + ": unknown slot {" + std::string(name) + "}; the slots here are: " + slot_list(slots));
    piece.slot = static_cast<int>(found - slots.begin());
    result.append(piece);
    piece = {};
    at = end;
  }
  if (!piece.literal.empty() || result.pieces_.empty()) result.append(piece);
  return result;
}

Template Template::with(int slot, const Template& other) const {
  Template result;
  for (const Piece& piece : pieces_) {
    if (piece.slot != slot) {
      result.append(piece);
      continue;
    }
    result.append({piece.literal, kNoSlot});
    for (const Piece& inner : other.pieces_) result.append(inner);
  }
  return result;
}

bool Template::uses(int slot) const {
  return std::ranges::any_of(pieces_, [slot](const Piece& piece) { return piece.slot == slot; });
}

std::size_t Template::size(std::span<const std::string_view> values) const {
  std::size_t total = 0;
  for (const Piece& piece : pieces_) {
    total += piece.literal.size();
    if (piece.slot != kNoSlot) total += values[static_cast<std::size_t>(piece.slot)].size();
  }
  return total;
}

char* Template::fill(std::span<const std::string_view> values, char* out) const {
  for (const Piece& piece : pieces_) {
    out = write(piece.literal, out);
    if (piece.slot != kNoSlot) out = write(values[static_cast<std::size_t>(piece.slot)], out);
  }
  return out;
}

std::size_t Template::offset_of(int slot, std::span<const std::string_view> values) const {
  std::size_t offset = 0;
  for (const Piece& piece : pieces_) {
    offset += piece.literal.size();
    if (piece.slot == slot) return offset;
    if (piece.slot != kNoSlot) offset += values[static_cast<std::size_t>(piece.slot)].size();
  }
  throw DataError("template: offset of a slot that the template does not use");
}

std::string Template::render(std::span<const std::string_view> values) const {
  std::string text(size(values), '\0');
  fill(values, text.data());
  return text;
}

}  // namespace syco
