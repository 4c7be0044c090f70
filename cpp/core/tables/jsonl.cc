#include "core/tables/jsonl.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <utility>

#include "core/base/errors.h"
#include "core/base/json.h"
#include "core/tables/column_builder.h"

namespace syco {
namespace {

// One key's values, line by line, null where the line has none.
class TextKey {
 public:
  explicit TextKey(std::string key) : key_(std::move(key)) {}

  void add(const Json& line, const std::string& where) {
    const auto found = line.find(key_);
    is_seen_ = is_seen_ || found != line.end();
    const bool is_null = found == line.end() || found->is_null();
    if (!is_null && !found->is_string()) {
      throw DataError(where + ": '" + key_ + "' must be a text or null, got " + found->type_name());
    }
    values_.append(is_null ? std::string_view() : std::string_view(found->get_ref<const std::string&>()));
    is_present_.push_back(!is_null);
  }

  ColumnData finish(const std::string& where) const {
    require(is_seen_, where + ": no line has the key '" + key_ + "'");
    ColumnData column = values_.finish();
    set_validity(is_present_, column);
    return column;
  }

 private:
  std::string key_;
  LargeStringBuilder values_;
  std::vector<bool> is_present_;
  bool is_seen_ = false;
};

// As tools write indices that they hold as floating-point numbers, such as 1.0.
bool is_whole(const Json& value) {
  constexpr double kMost = 2147483648.0;
  return value.is_number_float() && std::abs(value.get<double>()) < kMost &&
         std::trunc(value.get<double>()) == value.get<double>();
}

class LabelKey {
 public:
  explicit LabelKey(const JsonlFields& fields) : key_(fields.label), labels_(&fields.labels) {}

  void add(const Json& line, const std::string& where) {
    const auto found = line.find(key_);
    require(found != line.end(), where + ": '" + key_ + "' is missing; an unlabelled row has -1 or null");
    is_present_.push_back(!found->is_null());
    values_.push_back(found->is_null() ? 0 : index_of(*found, where));
  }

  ColumnData finish() const {
    ColumnData column = number_column(values_);
    set_validity(is_present_, column);
    return column;
  }

 private:
  std::int64_t index_of(const Json& value, const std::string& where) const {
    if (value.is_number_unsigned()) {
      // Out of range for any list of labels, which is found later.
      return static_cast<std::int64_t>(std::min<std::uint64_t>(value.get<std::uint64_t>(), INT64_MAX));
    }
    if (value.is_number_integer()) return value.get<std::int64_t>();
    if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
    if (is_whole(value)) return static_cast<std::int64_t>(value.get<double>());
    require(value.is_string(), where + ": '" + key_ + "' must be a label's index or name, got " + value.type_name());
    const auto& name = value.get_ref<const std::string&>();
    const auto found = std::ranges::find(*labels_, name);
    std::string known;
    for (const std::string& label : *labels_) known += (known.empty() ? "'" : ", '") + label + "'";
    require(found != labels_->end(), where + ": unknown label '" + name + "'; the labels are " + known);
    return found - labels_->begin();
  }

  std::string key_;
  const std::vector<std::string>* labels_;
  std::vector<std::int64_t> values_;
  std::vector<bool> is_present_;
};

// Calls `visit` with every line that is not blank, and its number from 1.
template <typename Visit>
void for_each_line(std::string_view text, Visit visit) {
  for (std::int64_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) visit(line, number);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

}  // namespace

BatchTable read_jsonl(std::string_view text, const JsonlFields& fields, const std::string& where) {
  std::vector<TextKey> texts(fields.texts.begin(), fields.texts.end());
  LabelKey label(fields);
  const bool has_label = !fields.label.empty();
  auto batch = std::make_shared<Batch>();
  for_each_line(text, [&](std::string_view line, std::int64_t number) {
    const std::string place = where + ", line " + std::to_string(number);
    const Json json = parse_json(line, place);
    for (TextKey& key : texts) key.add(json, place);
    if (has_label) label.add(json, place);
    ++batch->num_rows;
  });
  require(batch->num_rows > 0, where + ": the file has no line");
  BatchTable table;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    table.fields.push_back({fields.texts[i], ColumnType::kLargeString, true});
    batch->columns.push_back(texts[i].finish(where));
  }
  if (has_label) {
    table.fields.push_back({fields.label, ColumnType::kInt64, true});
    batch->columns.push_back(label.finish());
  }
  table.batches.push_back(std::move(batch));
  return table;
}

}  // namespace syco
