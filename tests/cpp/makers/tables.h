// Small tables for tests, through the same Arrow stream that Python uses.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/tables/arrow.h"
#include "core/tables/arrow_batch.h"
#include "core/tables/column_builder.h"

namespace syco {

inline ArrowTable imported(const BatchTable& table, const Metadata& metadata = {}) {
  ArrowArrayStream stream = {};
  export_stream(
      table.fields, metadata,
      [batches = table.batches, next = std::size_t{0}]() mutable -> std::shared_ptr<const Batch> {
        return next < batches.size() ? batches[next++] : nullptr;
      },
      &stream);
  return ArrowTable("table", &stream);
}

inline ColumnData text_column(const std::vector<std::string>& values) {
  StringBuilder builder;
  for (const std::string& value : values) builder.append(value);
  return builder.finish();
}

// One batch of the given columns.
class TableOf {
 public:
  TableOf& texts(const std::string& name, const std::vector<std::string>& values) {
    return add({name, ColumnType::kString}, text_column(values), values.size());
  }
  TableOf& integers(const std::string& name, const std::vector<std::int64_t>& values) {
    return add({name, ColumnType::kInt64}, number_column(values), values.size());
  }
  TableOf& nullable_integers(const std::string& name, const std::vector<std::optional<std::int64_t>>& values) {
    std::vector<std::int64_t> numbers;
    std::vector<bool> is_present;
    for (const auto& value : values) {
      numbers.push_back(value.value_or(0));
      is_present.push_back(value.has_value());
    }
    ColumnData column = number_column(numbers);
    set_validity(is_present, column);
    return add({name, ColumnType::kInt64, true}, std::move(column), values.size());
  }
  TableOf& turns(const std::string& name, ColumnData column, std::size_t num_rows) {
    return add({name, ColumnType::kTurnList, true}, std::move(column), num_rows);
  }
  ArrowTable imported(const Metadata& metadata = {}) const { return syco::imported({fields_, {batch_}}, metadata); }

 private:
  TableOf& add(Field field, ColumnData column, std::size_t num_rows) {
    fields_.push_back(std::move(field));
    batch_->num_rows = static_cast<std::int64_t>(num_rows);
    batch_->columns.push_back(std::move(column));
    return *this;
  }

  Fields fields_;
  std::shared_ptr<Batch> batch_ = std::make_shared<Batch>();
};

}  // namespace syco
