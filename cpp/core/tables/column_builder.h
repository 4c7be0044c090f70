// Columns of tables that are small or whose size is not known beforehand, value by value.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/base/errors.h"
#include "core/tables/arrow_batch.h"
#include "core/tables/arrow_values.h"

namespace syco {

// A string or large_string column. Throws DataError when the text of a string column passes 2 GB.
template <ColumnType kType>
class TextBuilder {
  static_assert(kType == ColumnType::kString || kType == ColumnType::kLargeString);
  using Offset = std::conditional_t<kType == ColumnType::kString, std::int32_t, std::int64_t>;

 public:
  void append(std::string_view text) {
    bytes_ += text;
    if (bytes_.size() > std::numeric_limits<Offset>::max()) throw DataError("a text column would pass 2 GB; use less");
    ends_.push_back(static_cast<Offset>(bytes_.size()));
  }

  ColumnData finish() const {
    ColumnData column;
    column.offsets.resize((ends_.size() + 1) * sizeof(Offset));
    auto* offsets = column.offsets.as<Offset>();
    offsets[0] = 0;
    std::ranges::copy(ends_, offsets + 1);
    column.values.resize(bytes_.size());
    std::ranges::copy(bytes_, column.values.data());
    return column;
  }

 private:
  std::string bytes_;
  std::vector<Offset> ends_;
};

using StringBuilder = TextBuilder<ColumnType::kString>;
using LargeStringBuilder = TextBuilder<ColumnType::kLargeString>;

inline Buffer bitmap(const std::vector<bool>& values) {
  Buffer buffer((values.size() + 7) / 8);
  auto* bits = buffer.as<std::uint8_t>();
  std::fill(bits, bits + buffer.size(), std::uint8_t{0});
  for (std::size_t i = 0; i < values.size(); ++i) bits[i / 8] |= static_cast<std::uint8_t>(values[i] << (i % 8));
  return buffer;
}

// Makes null the rows that are not present.
inline void set_validity(const std::vector<bool>& is_present, ColumnData& column) {
  column.num_nulls = std::ranges::count(is_present, false);
  if (column.num_nulls > 0) column.validity = bitmap(is_present);
}

inline ColumnData bool_column(const std::vector<bool>& values) {
  ColumnData column;
  column.values = bitmap(values);
  return column;
}

// A column of turns, list by list.
class TurnListBuilder {
 public:
  void append(std::span<const SaidTurn> turns) {
    for (const SaidTurn& turn : turns) {
      roles_.append(turn.role);
      contents_.append(turn.content);
    }
    ends_.push_back(ends_.back() + static_cast<std::int32_t>(turns.size()));
    is_present_.push_back(true);
  }
  void append_null() {
    append({});
    is_present_.back() = false;
  }

  ColumnData finish() const {
    ColumnData column;
    column.offsets.resize(ends_.size() * sizeof(std::int32_t));
    std::ranges::copy(ends_, column.offsets.as<std::int32_t>());
    column.num_items = ends_.back();
    column.children.push_back(roles_.finish());
    column.children.push_back(contents_.finish());
    set_validity(is_present_, column);
    return column;
  }

 private:
  StringBuilder roles_;
  LargeStringBuilder contents_;
  std::vector<std::int32_t> ends_ = {0};
  std::vector<bool> is_present_;
};

template <typename T>
ColumnData number_column(const std::vector<T>& values) {
  ColumnData column;
  column.values.resize(values.size() * sizeof(T));
  std::ranges::copy(values, column.values.template as<T>());
  return column;
}

}  // namespace syco
