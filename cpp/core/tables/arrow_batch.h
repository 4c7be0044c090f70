// Tables out: batches of columns, handed to any Arrow consumer without a copy.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/tables/arrow_abi.h"
#include "core/tables/buffer.h"

namespace syco {

// The columns that tables here have; kTurnList: lists of kTurn, a struct of role and content.
enum class ColumnType { kString, kLargeString, kInt8, kInt32, kInt64, kBool, kStringList, kTurn, kTurnList };

struct Field {
  std::string name;
  ColumnType type;
  bool nullable = false;

  bool operator==(const Field&) const = default;
};
using Fields = std::vector<Field>;

// One column's memory, as the Arrow columnar format lays it out. Which buffers are used depends on the type:
// strings: offsets, values; numbers and bool: values; string lists: offsets, then `item_offsets` and values of the
// items; turn lists: offsets, and as children the roles and the contents of the items.
struct ColumnData {
  Buffer validity;  // one bit a row; empty if no row is null
  Buffer offsets;
  Buffer item_offsets;
  Buffer values;
  std::int64_t num_nulls = 0;
  std::int64_t num_items = 0;
  std::vector<ColumnData> children;
};

struct Batch {
  std::int64_t num_rows = 0;
  std::vector<ColumnData> columns;  // in the order of the fields
};

// Metadata of a schema: text by key.
using Metadata = std::map<std::string, std::string>;

// Batches in order; null at the end.
using BatchSource = std::function<std::shared_ptr<const Batch>()>;

// Writes `stream` so that it gives the batches of `source`. The consumer's arrays share the batches' memory. An
// exception of `source` becomes the stream's error.
void export_stream(const Fields& fields, const Metadata& metadata, BatchSource source, ArrowArrayStream* stream);

// A finished table that can be read any number of times.
struct BatchTable {
  Fields fields;
  std::vector<std::shared_ptr<const Batch>> batches;

  std::int64_t num_rows() const;
  void export_stream(ArrowArrayStream* stream) const;
};

}  // namespace syco
