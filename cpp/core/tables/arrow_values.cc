#include "core/tables/arrow_values.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/base/errors.h"

namespace syco {
namespace {

template <typename T>
T value_at(const void* buffer, std::int64_t i) {
  T value;
  std::memcpy(&value, static_cast<const char*>(buffer) + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

struct Range {
  std::int64_t begin;
  std::int64_t end;
};

template <typename Offset>
Range range_at(const void* offsets, std::int64_t i, const std::string& where) {
  const Range range{value_at<Offset>(offsets, i), value_at<Offset>(offsets, i + 1)};
  if (range.begin < 0 || range.end < range.begin) throw DataError(where + " is damaged: its offsets run backwards");
  return range;
}

}  // namespace

ArrowValues::ArrowValues(std::string_view format, const Kind& kind, const ArrowArray& array, const std::string& where)
    : array_(&array), offset_(array.offset) {
  require(std::ranges::find(kind.formats, format) != kind.formats.end(),
          where + " must hold " + std::string(kind.name) + ", got the Arrow format '" + std::string(format) + "'");
  // Validity and values; texts have offsets too, and views any number of buffers that they point into.
  const std::int64_t num_buffers = format == "u" || format == "U" ? 3 : 2;
  require(array.length >= 0 && array.offset >= 0 && array.buffers != nullptr &&
              (array.n_buffers == num_buffers || (format == "vu" && array.n_buffers > num_buffers)),
          where + " is damaged: it has " + std::to_string(array.n_buffers) + " buffers");
  // The bytes of empty texts may be absent; offsets, views and numbers may not.
  require(array.length == 0 || array.buffers[1] != nullptr, where + " is damaged: it has rows but no values");
  if (array.null_count != 0) validity_ = static_cast<const std::uint8_t*>(array.buffers[0]);
}

StringValues::StringValues(std::string_view format, const ArrowArray& array, const std::string& where)
    : ArrowValues(format, {"strings", {"u", "U", "vu"}}, array, where), where_(where) {
  layout_ = format == "u" ? Layout::kOffsets32 : format == "U" ? Layout::kOffsets64 : Layout::kViews;
}

std::string_view StringValues::at(std::int64_t i) const {
  i += offset_;
  if (layout_ == Layout::kViews) return view_at(i);
  const Range range = layout_ == Layout::kOffsets32 ? range_at<std::int32_t>(buffer(1), i, where_)
                                                    : range_at<std::int64_t>(buffer(1), i, where_);
  if (range.begin == range.end) return {};
  if (buffer(2) == nullptr) throw DataError(where_ + " is damaged: it has text but no bytes");
  return {static_cast<const char*>(buffer(2)) + range.begin, static_cast<std::size_t>(range.end - range.begin)};
}

// A view is 16 bytes: int32 length, then up to 12 bytes of text, or 4 bytes of prefix, int32 buffer, int32 offset.
std::string_view StringValues::view_at(std::int64_t i) const {
  constexpr std::int64_t kViewBytes = 16;
  constexpr std::int32_t kInlineLength = 12;
  const char* view = static_cast<const char*>(buffer(1)) + i * kViewBytes;
  const auto length = value_at<std::int32_t>(view, 0);
  if (length < 0) throw DataError(where_ + " is damaged: a string has a negative length");
  if (length <= kInlineLength) return {view + 4, static_cast<std::size_t>(length)};
  const auto index = value_at<std::int32_t>(view, 2);
  const auto start = value_at<std::int32_t>(view, 3);
  // Buffers: validity, views, the texts' buffers, and last the lengths of the texts' buffers.
  const std::int64_t num_texts = array_->n_buffers - 3;
  const void* sizes = buffer(static_cast<int>(array_->n_buffers - 1));
  if (index < 0 || index >= num_texts || start < 0 || sizes == nullptr ||
      start + std::int64_t{length} > value_at<std::int64_t>(sizes, index)) {
    throw DataError(where_ + " is damaged: a view points outside");
  }
  return {static_cast<const char*>(buffer(2 + index)) + start, static_cast<std::size_t>(length)};
}

IntegerValues::IntegerValues(std::string_view format, const ArrowArray& array, const std::string& where)
    : ArrowValues(format, {"integers", {"c", "C", "s", "S", "i", "I", "l", "L", "b"}}, array, where),
      format_(format[0]),
      where_(where) {}

std::int64_t IntegerValues::at(std::int64_t i) const {
  i += offset_;
  switch (format_) {
    case 'b':
      return static_cast<const std::uint8_t*>(buffer(1))[i / 8] >> (i % 8) & 1;
    case 'c':
      return value_at<std::int8_t>(buffer(1), i);
    case 'C':
      return value_at<std::uint8_t>(buffer(1), i);
    case 's':
      return value_at<std::int16_t>(buffer(1), i);
    case 'S':
      return value_at<std::uint16_t>(buffer(1), i);
    case 'i':
      return value_at<std::int32_t>(buffer(1), i);
    case 'I':
      return value_at<std::uint32_t>(buffer(1), i);
    case 'l':
      return value_at<std::int64_t>(buffer(1), i);
    default:
      break;
  }
  const auto value = value_at<std::uint64_t>(buffer(1), i);
  if (value > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    throw DataError(where_ + " holds a number above 2^63");
  }
  return static_cast<std::int64_t>(value);
}

FloatValues::FloatValues(std::string_view format, const ArrowArray& array, const std::string& where)
    : ArrowValues(format, {"floating-point numbers", {"f", "g"}}, array, where), format_(format[0]) {}

double FloatValues::at(std::int64_t i) const {
  i += offset_;
  return format_ == 'f' ? double{value_at<float>(buffer(1), i)} : value_at<double>(buffer(1), i);
}

ListValues::ListValues(const ArrowSchema& schema, const ArrowArray& array, std::string_view name,
                       const std::string& where)
    : ArrowValues(schema.format, {name, {"+l", "+L"}}, array, where),
      large_(std::string_view(schema.format) == "+L"),
      where_(where) {
  require(schema.n_children == 1 && array.n_children == 1 && schema.children[0]->dictionary == nullptr,
          where + " must hold " + std::string(name));
}

ListValues::Range ListValues::items_of(std::int64_t i) const {
  i += offset_;
  const auto [begin, end] =
      large_ ? range_at<std::int64_t>(buffer(1), i, where_) : range_at<std::int32_t>(buffer(1), i, where_);
  if (end > array_->children[0]->length) throw DataError(where_ + " is damaged: a list points outside");
  return {begin, end};
}

StringListValues::StringListValues(const ArrowSchema& schema, const ArrowArray& array, const std::string& where)
    : ListValues(schema, array, "lists of strings", where),
      items_(std::make_unique<StringValues>(schema.children[0]->format, *array.children[0], where)) {}

std::vector<std::string_view> StringListValues::at(std::int64_t i) const {
  const Range range = items_of(i);
  std::vector<std::string_view> items;
  for (std::int64_t item = range.begin; item < range.end; ++item) {
    if (items_->is_null(item)) throw DataError(where_ + ": a list holds a null");
    items.push_back(items_->at(item));
  }
  return items;
}

TurnListValues::TurnListValues(const ArrowSchema& schema, const ArrowArray& array, const std::string& where)
    : ListValues(schema, array, "lists of turns (role and content)", where), turns_(array.children[0]) {
  const ArrowSchema& turn = *schema.children[0];
  require(std::string_view(turn.format) == "+s" && turn.n_children == turns_->n_children && turns_->length >= 0 &&
              turns_->offset >= 0 && turns_->n_buffers == 1 && turns_->buffers != nullptr,
          where + " must hold lists of turns (role and content), got items of the Arrow format '" +
              std::string(turn.format) + "'");
  roles_ = child(turn, "role");
  contents_ = child(turn, "content");
}

std::unique_ptr<StringValues> TurnListValues::child(const ArrowSchema& schema, std::string_view name) const {
  for (std::int64_t i = 0; i < schema.n_children; ++i) {
    if (schema.children[i]->name != name) continue;
    const ArrowArray& values = *turns_->children[i];
    require(schema.children[i]->dictionary == nullptr && values.length >= turns_->offset + turns_->length,
            where_ + ": '" + std::string(name) + "' of the turns must be as many plain strings");
    return std::make_unique<StringValues>(schema.children[i]->format, values, where_);
  }
  throw DataError(where_ + ": the turns lack '" + std::string(name) + "'");
}

bool TurnListValues::is_null_turn(std::int64_t i) const {
  const auto* validity = static_cast<const std::uint8_t*>(turns_->buffers[0]);
  return turns_->null_count != 0 && validity != nullptr && (validity[i / 8] >> (i % 8) & 1) == 0;
}

std::vector<SaidTurn> TurnListValues::at(std::int64_t i) const {
  const Range range = items_of(i);
  std::vector<SaidTurn> turns;
  for (std::int64_t item = range.begin + turns_->offset; item < range.end + turns_->offset; ++item) {
    if (is_null_turn(item) || roles_->is_null(item) || contents_->is_null(item)) {
      throw DataError(where_ + ": a turn holds a null");
    }
    turns.push_back({roles_->at(item), contents_->at(item)});
  }
  return turns;
}

}  // namespace syco
