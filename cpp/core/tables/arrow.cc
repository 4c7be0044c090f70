#include "core/tables/arrow.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "core/base/errors.h"

namespace syco {
namespace {

// The binary form of schema metadata: int32 count, then (int32 length, bytes) for each key and value.
std::map<std::string, std::string> read_metadata(const char* at) {
  std::map<std::string, std::string> entries;
  if (at == nullptr) return entries;
  const auto read_count = [&at] {
    std::int32_t count = 0;
    std::memcpy(&count, at, sizeof(count));
    at += sizeof(count);
    require(count >= 0, "Arrow schema: metadata holds a negative length");
    return count;
  };
  const auto read_text = [&at, &read_count] {
    const auto length = static_cast<std::size_t>(read_count());
    std::string text(at, length);
    at += length;
    return text;
  };
  for (std::int32_t left = read_count(); left > 0; --left) {
    std::string key = read_text();
    entries[std::move(key)] = read_text();
  }
  return entries;
}

}  // namespace

void ArrowTable::Release::operator()(ArrowSchema* schema) const {
  const std::unique_ptr<ArrowSchema> owned(schema);
  if (schema->release != nullptr) schema->release(schema);
}

void ArrowTable::Release::operator()(ArrowArray* array) const {
  const std::unique_ptr<ArrowArray> owned(array);
  if (array->release != nullptr) array->release(array);
}

ArrowTable::ArrowTable(std::string name, ArrowArrayStream* stream)
    : name_(std::move(name)), schema_(std::make_unique<ArrowSchema>().release()) {
  const auto release_stream = [](ArrowArrayStream* s) {
    if (s->release != nullptr) s->release(s);
  };
  const std::unique_ptr<ArrowArrayStream, decltype(release_stream)> guard(stream, release_stream);
  const auto check = [&](int status) {
    if (status == 0) return;
    const char* reason = stream->get_last_error(stream);
    throw DataError(name_ + ": the Arrow stream failed: " + (reason == nullptr ? "no reason given" : reason));
  };
  require(stream->release != nullptr, name_ + ": the Arrow stream was already used");
  check(stream->get_schema(stream, schema_.get()));
  require(std::string_view(schema_->format) == "+s",
          name_ + ": expected a table (an Arrow struct), got an array of format '" + schema_->format + "'");
  metadata_ = read_metadata(schema_->metadata);
  while (true) {
    std::unique_ptr<ArrowArray, Release> chunk(std::make_unique<ArrowArray>().release());
    check(stream->get_next(stream, chunk.get()));
    if (chunk->release == nullptr) break;
    add_chunk(std::move(chunk));
  }
}

void ArrowTable::add_chunk(std::unique_ptr<ArrowArray, Release> chunk) {
  require(chunk->n_children == schema_->n_children && chunk->length >= 0 && chunk->offset >= 0 && chunk->n_buffers == 1,
          name_ + ": an Arrow chunk does not fit its schema");
  require(chunk->null_count <= 0 || chunk->buffers[0] == nullptr, name_ + ": whole rows are null; drop them first");
  for (std::int64_t i = 0; i < chunk->n_children; ++i) {
    require(chunk->children[i] != nullptr && chunk->children[i]->length >= chunk->offset + chunk->length,
            name_ + ": an Arrow column is shorter than its table");
  }
  num_rows_ += chunk->length;
  chunks_.push_back(std::move(chunk));
}

bool ArrowTable::has_column(std::string_view column) const {
  for (std::int64_t i = 0; i < schema_->n_children; ++i) {
    if (schema_->children[i]->name == column) return true;
  }
  return false;
}

std::string ArrowTable::metadata(const std::string& key) const {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? std::string() : found->second;
}

std::string ArrowTable::where(std::string_view column) const {
  return name_ + ": column '" + std::string(column) + "'";
}

ArrowTable::Column ArrowTable::column(std::string_view name) const {
  std::string known;
  for (std::int64_t i = 0; i < schema_->n_children; ++i) {
    const ArrowSchema* field = schema_->children[i];
    known += (i == 0 ? "" : ", ") + std::string(field->name);
    if (field->name != name) continue;
    require(field->dictionary == nullptr,
            where(name) + " is dictionary-encoded (categorical); cast it to a plain string column first");
    Column found{field, {}};
    for (const auto& chunk : chunks_) found.chunks.push_back(chunk->children[i]);
    return found;
  }
  throw DataError(where(name) + " is missing; the columns are: " + (known.empty() ? "none" : known));
}

template <typename Values, typename At>
auto ArrowTable::each_row(std::string_view name, At at) const {
  const Column found = column(name);
  std::vector<std::invoke_result_t<At, const Values&, std::int64_t>> all;
  all.reserve(static_cast<std::size_t>(num_rows_));
  for (std::size_t c = 0; c < chunks_.size(); ++c) {
    const Values values = [&, where = where(name)] {
      if constexpr (std::is_base_of_v<ListValues, Values>)
        return Values(*found.schema, *found.chunks[c], where);
      else
        return Values(found.schema->format, *found.chunks[c], where);
    }();
    for (std::int64_t i = chunks_[c]->offset; i < chunks_[c]->offset + chunks_[c]->length; ++i) {
      all.push_back(at(values, i));
    }
  }
  return all;
}

namespace {

constexpr auto kOrNullopt = [](const auto& values, std::int64_t i) {
  return values.is_null(i) ? std::nullopt : std::optional(values.at(i));
};

template <typename T>
std::vector<T> without_nulls(const std::vector<std::optional<T>>& values, const std::string& where) {
  std::vector<T> present;
  present.reserve(values.size());
  for (const std::optional<T>& value : values) {
    if (!value)
      throw DataError(where + " is null in row " + std::to_string(present.size()) + "; fill or drop it first");
    present.push_back(*value);
  }
  return present;
}

}  // namespace

std::vector<std::optional<std::string_view>> ArrowTable::optional_strings(std::string_view name) const {
  return each_row<StringValues>(name, kOrNullopt);
}

std::vector<std::string_view> ArrowTable::strings(std::string_view name) const {
  return without_nulls(optional_strings(name), where(name));
}

std::vector<std::optional<std::int64_t>> ArrowTable::optional_integers(std::string_view name) const {
  return each_row<IntegerValues>(name, kOrNullopt);
}

std::vector<std::int64_t> ArrowTable::integers(std::string_view name) const {
  return without_nulls(optional_integers(name), where(name));
}

std::vector<double> ArrowTable::doubles(std::string_view name) const {
  return each_row<FloatValues>(name, [](const FloatValues& numbers, std::int64_t i) {
    return numbers.is_null(i) ? std::numeric_limits<double>::quiet_NaN() : numbers.at(i);
  });
}

std::vector<std::vector<std::string_view>> ArrowTable::string_lists(std::string_view name) const {
  std::int64_t row = 0;
  return each_row<StringListValues>(name, [&](const StringListValues& lists, std::int64_t i) {
    if (lists.is_null(i)) throw DataError(where(name) + " is null in row " + std::to_string(row));
    ++row;
    return lists.at(i);
  });
}

std::vector<std::optional<std::vector<SaidTurn>>> ArrowTable::optional_turns(std::string_view name) const {
  return each_row<TurnListValues>(name, kOrNullopt);
}

}  // namespace syco
