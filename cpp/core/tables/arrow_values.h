// Checked access to the values of one Arrow array, by type. Positions count from the start of the array's parent, so
// each class adds the array's own offset. The layouts: arrow.apache.org/docs/format/Columnar.html.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/tables/arrow_abi.h"

namespace syco {

// Validity, which all types share.
class ArrowValues {
 public:
  bool is_null(std::int64_t i) const {
    return validity_ != nullptr && (validity_[(i + offset_) / 8] >> ((i + offset_) % 8) & 1) == 0;
  }

 protected:
  // Which Arrow formats a class reads, and what errors call them.
  struct Kind {
    std::string_view name;
    std::vector<std::string_view> formats;
  };

  // Throws DataError, beginning with `where`, unless `format` is one of the kind's and `array` has the buffers it
  // needs.
  ArrowValues(std::string_view format, const Kind& kind, const ArrowArray& array, const std::string& where);

  const void* buffer(int i) const { return array_->buffers[i]; }

  const ArrowArray* array_;
  std::int64_t offset_;
  const std::uint8_t* validity_ = nullptr;
};

// utf8 (u), large_utf8 (U) and string views (vu).
class StringValues : public ArrowValues {
 public:
  StringValues(std::string_view format, const ArrowArray& array, const std::string& where);
  std::string_view at(std::int64_t i) const;

 private:
  enum class Layout { kOffsets32, kOffsets64, kViews };
  std::string_view view_at(std::int64_t i) const;

  Layout layout_;
  std::string where_;
};

// Integers c C s S i I l L, and bool b.
class IntegerValues : public ArrowValues {
 public:
  IntegerValues(std::string_view format, const ArrowArray& array, const std::string& where);
  std::int64_t at(std::int64_t i) const;

 private:
  char format_;
  std::string where_;
};

// float32 (f) and float64 (g).
class FloatValues : public ArrowValues {
 public:
  FloatValues(std::string_view format, const ArrowArray& array, const std::string& where);
  double at(std::int64_t i) const;

 private:
  char format_;
};

// list (+l) and large_list (+L): which of the items are a row's.
class ListValues : public ArrowValues {
 protected:
  struct Range {
    std::int64_t begin;
    std::int64_t end;
  };

  ListValues(const ArrowSchema& schema, const ArrowArray& array, std::string_view name, const std::string& where);
  // Throws DataError if the items are not all there.
  Range items_of(std::int64_t i) const;

  bool large_;
  std::string where_;
};

// Lists of strings.
class StringListValues : public ListValues {
 public:
  StringListValues(const ArrowSchema& schema, const ArrowArray& array, const std::string& where);
  std::vector<std::string_view> at(std::int64_t i) const;

 private:
  std::unique_ptr<StringValues> items_;
};

// What one speaker says, and in which role.
struct SaidTurn {
  std::string_view role;
  std::string_view content;

  bool operator==(const SaidTurn&) const = default;
};

// Lists of structs with the strings `role` and `content`.
class TurnListValues : public ListValues {
 public:
  TurnListValues(const ArrowSchema& schema, const ArrowArray& array, const std::string& where);
  std::vector<SaidTurn> at(std::int64_t i) const;

 private:
  std::unique_ptr<StringValues> child(const ArrowSchema& schema, std::string_view name) const;
  // Counted as the values of its children are.
  bool is_null_turn(std::int64_t i) const;

  const ArrowArray* turns_;
  std::unique_ptr<StringValues> roles_;
  std::unique_ptr<StringValues> contents_;
};

}  // namespace syco
