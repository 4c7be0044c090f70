// A text with slots, parsed once and filled in one pass. What is filled in is never looked at again: a value that holds
// "{claim}" stands in the result as it is. "{name}" is a slot; "{{" and "}}" are braces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace syco {

class Template {
 public:
  // A literal, then the value of `slot` (none after the last literal). `slot` counts in the names given to `parse`.
  struct Piece {
    std::string literal;
    int slot = kNoSlot;

    bool operator==(const Piece&) const = default;
  };
  static constexpr int kNoSlot = -1;

  Template() = default;
  // A slot whose name is empty cannot be written. Throws DataError, beginning with `where`, at a slot that is not in
  // `slots` or a brace that has no partner.
  static Template parse(std::string_view text, std::span<const std::string_view> slots, const std::string& where);

  // Adds a piece at the end.
  void append(const Piece& piece);
  // This template with the pieces of `other` in place of every `slot`. Both must count the same slots.
  Template with(int slot, const Template& other) const;

  bool uses(int slot) const;
  const std::vector<Piece>& pieces() const { return pieces_; }

  // Number of bytes that `fill` writes.
  std::size_t size(std::span<const std::string_view> values) const;
  // Writes the literals and values[slot] at `out`; returns the end of what it wrote.
  char* fill(std::span<const std::string_view> values, char* out) const;
  // Number of bytes before the first `slot`; the template must use it.
  std::size_t offset_of(int slot, std::span<const std::string_view> values) const;
  std::string render(std::span<const std::string_view> values) const;

  bool operator==(const Template&) const = default;

 private:
  std::vector<Piece> pieces_;
};

}  // namespace syco
