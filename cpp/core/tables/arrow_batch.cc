#include "core/tables/arrow_batch.h"

#include <array>
#include <cerrno>
#include <exception>
#include <new>
#include <utility>

#include "core/base/errors.h"

namespace syco {
namespace {

constexpr std::int64_t kNullableFlag = 2;  // ARROW_FLAG_NULLABLE of the specification

const char* format_of(ColumnType type) {
  switch (type) {
    case ColumnType::kString:
      return "u";
    case ColumnType::kLargeString:
      return "U";
    case ColumnType::kInt8:
      return "c";
    case ColumnType::kInt32:
      return "i";
    case ColumnType::kInt64:
      return "l";
    case ColumnType::kBool:
      return "b";
    case ColumnType::kStringList:
    case ColumnType::kTurnList:
      return "+l";
    case ColumnType::kTurn:
      return "+s";
  }
  throw DataError("Arrow export: unknown column type");
}

Fields children_of(ColumnType type) {
  switch (type) {
    case ColumnType::kStringList:
      return {{"item", ColumnType::kString}};
    case ColumnType::kTurnList:
      return {{"item", ColumnType::kTurn, true}};
    case ColumnType::kTurn:
      return {{"role", ColumnType::kString, true}, {"content", ColumnType::kLargeString, true}};
    default:
      return {};
  }
}

// What an exported schema owns.
struct SchemaMemory {
  std::string name;
  std::string metadata;
  std::vector<ArrowSchema> children;
  std::vector<ArrowSchema*> child_pointers;
};

void release_schema(ArrowSchema* schema) {
  for (std::int64_t i = 0; i < schema->n_children; ++i) {
    if (schema->children[i]->release != nullptr) schema->children[i]->release(schema->children[i]);
  }
  const std::unique_ptr<SchemaMemory> owned(static_cast<SchemaMemory*>(schema->private_data));
  schema->release = nullptr;
}

std::string metadata_bytes(const Metadata& metadata) {
  std::string bytes;
  const auto add_count = [&bytes](std::size_t count) {
    const auto value = static_cast<std::int32_t>(count);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  if (metadata.empty()) return bytes;
  add_count(metadata.size());
  for (const auto& [key, value] : metadata) {
    add_count(key.size());
    bytes += key;
    add_count(value.size());
    bytes += value;
  }
  return bytes;
}

void export_field(const Field& field, ArrowSchema* out);

void fill_schema(const char* format, std::string name, bool nullable, const Fields& children, const Metadata& metadata,
                 ArrowSchema* out) {
  auto memory = std::make_unique<SchemaMemory>();
  memory->name = std::move(name);
  memory->metadata = metadata_bytes(metadata);
  memory->children.resize(children.size());
  for (std::size_t i = 0; i < children.size(); ++i) {
    export_field(children[i], &memory->children[i]);
    memory->child_pointers.push_back(&memory->children[i]);
  }
  *out = {format,
          memory->name.c_str(),
          memory->metadata.empty() ? nullptr : memory->metadata.data(),
          nullable ? kNullableFlag : 0,
          static_cast<std::int64_t>(children.size()),
          memory->child_pointers.data(),
          nullptr,
          &release_schema,
          nullptr};
  out->private_data = memory.release();
}

void export_field(const Field& field, ArrowSchema* out) {
  fill_schema(format_of(field.type), field.name, field.nullable, children_of(field.type), {}, out);
}

// What an exported array owns: a share of the batch, and the tables of pointers.
struct ArrayMemory {
  std::shared_ptr<const Batch> batch;
  std::array<const void*, 3> buffers = {};
  std::vector<ArrowArray> children;
  std::vector<ArrowArray*> child_pointers;
};

void release_array(ArrowArray* array) {
  for (std::int64_t i = 0; i < array->n_children; ++i) {
    if (array->children[i]->release != nullptr) array->children[i]->release(array->children[i]);
  }
  const std::unique_ptr<ArrayMemory> owned(static_cast<ArrayMemory*>(array->private_data));
  array->release = nullptr;
}

void finish_array(std::unique_ptr<ArrayMemory> memory, std::int64_t length, std::int64_t num_nulls, int num_buffers,
                  ArrowArray* out) {
  for (ArrowArray& child : memory->children) memory->child_pointers.push_back(&child);
  *out = {length,
          num_nulls,
          0,
          num_buffers,
          static_cast<std::int64_t>(memory->children.size()),
          memory->buffers.data(),
          memory->child_pointers.data(),
          nullptr,
          &release_array,
          nullptr};
  out->private_data = memory.release();
}

const void* or_null(const Buffer& buffer) { return buffer.size() == 0 ? nullptr : buffer.data(); }

void export_column(ColumnType type, const std::shared_ptr<const Batch>& batch, const ColumnData& column,
                   std::int64_t length, ArrowArray* out);

// Arrays of the column's children, all of one length, as children of `memory`.
void export_children(ColumnType type, const std::shared_ptr<const Batch>& batch, const std::vector<ColumnData>& columns,
                     std::int64_t length, ArrayMemory& memory) {
  const Fields fields = children_of(type);
  memory.children.resize(fields.size());
  for (std::size_t i = 0; i < fields.size(); ++i) {
    export_column(fields[i].type, batch, columns[i], length, &memory.children[i]);
  }
}

void export_column(ColumnType type, const std::shared_ptr<const Batch>& batch, const ColumnData& column,
                   std::int64_t length, ArrowArray* out) {
  auto memory = std::make_unique<ArrayMemory>();
  memory->batch = batch;
  memory->buffers[0] = or_null(column.validity);
  int num_buffers = 2;
  switch (type) {
    case ColumnType::kString:
    case ColumnType::kLargeString:
      num_buffers = 3;
      memory->buffers[1] = column.offsets.data();
      memory->buffers[2] = column.values.data();
      break;
    case ColumnType::kStringList: {
      memory->buffers[1] = column.offsets.data();
      auto items = std::make_unique<ArrayMemory>();
      items->batch = batch;
      items->buffers = {nullptr, column.item_offsets.data(), column.values.data()};
      memory->children.resize(1);
      finish_array(std::move(items), column.num_items, 0, 3, memory->children.data());
      break;
    }
    case ColumnType::kTurnList: {
      memory->buffers[1] = column.offsets.data();
      auto items = std::make_unique<ArrayMemory>();
      items->batch = batch;
      export_children(ColumnType::kTurn, batch, column.children, column.num_items, *items);
      memory->children.resize(1);
      finish_array(std::move(items), column.num_items, 0, 1, memory->children.data());
      break;
    }
    default:
      memory->buffers[1] = column.values.data();
  }
  finish_array(std::move(memory), length, column.num_nulls, num_buffers, out);
}

void export_batch(const Fields& fields, const std::shared_ptr<const Batch>& batch, ArrowArray* out) {
  require(batch->columns.size() == fields.size(), "Arrow export: the batch does not fit its fields");
  auto memory = std::make_unique<ArrayMemory>();
  memory->batch = batch;
  memory->children.resize(fields.size());
  for (std::size_t i = 0; i < fields.size(); ++i) {
    export_column(fields[i].type, batch, batch->columns[i], batch->num_rows, &memory->children[i]);
  }
  finish_array(std::move(memory), batch->num_rows, 0, 1, out);
}

struct StreamMemory {
  Fields fields;
  Metadata metadata;
  BatchSource source;
  std::string error;
};

// Runs `step`; what it throws becomes the stream's error, and a full memory one of its own kind.
template <typename Step>
int guarded(ArrowArrayStream* stream, Step step) {
  auto* memory = static_cast<StreamMemory*>(stream->private_data);
  try {
    step(*memory);
    return 0;
  } catch (const std::bad_alloc&) {
    memory->error = "out of memory";  // short enough to need none
    return ENOMEM;
  } catch (const std::exception& error) {
    memory->error = error.what();
    return EINVAL;
  }
}

int give_schema(ArrowArrayStream* stream, ArrowSchema* out) {
  return guarded(stream,
                 [out](StreamMemory& memory) { fill_schema("+s", "", false, memory.fields, memory.metadata, out); });
}

int give_next(ArrowArrayStream* stream, ArrowArray* out) {
  return guarded(stream, [out](StreamMemory& memory) {
    *out = {};
    if (const std::shared_ptr<const Batch> batch = memory.source()) export_batch(memory.fields, batch, out);
  });
}

const char* give_error(ArrowArrayStream* stream) {
  return static_cast<StreamMemory*>(stream->private_data)->error.c_str();
}

void release_stream(ArrowArrayStream* stream) {
  const std::unique_ptr<StreamMemory> owned(static_cast<StreamMemory*>(stream->private_data));
  stream->release = nullptr;
}

}  // namespace

void export_stream(const Fields& fields, const Metadata& metadata, BatchSource source, ArrowArrayStream* stream) {
  auto memory = std::make_unique<StreamMemory>(StreamMemory{fields, metadata, std::move(source), {}});
  *stream = {&give_schema, &give_next, &give_error, &release_stream, memory.release()};
}

std::int64_t BatchTable::num_rows() const {
  std::int64_t total = 0;
  for (const auto& batch : batches) total += batch->num_rows;
  return total;
}

void BatchTable::export_stream(ArrowArrayStream* stream) const {
  syco::export_stream(
      fields, {},
      [batches = batches, next = std::size_t{0}]() mutable -> std::shared_ptr<const Batch> {
        return next < batches.size() ? batches[next++] : nullptr;
      },
      stream);
}

}  // namespace syco
