#include <memory>
#include <utility>

#include "bindings/arrow_capsule.h"
#include "bindings/bindings.h"
#include "core/base/errors.h"

namespace py = pybind11;

namespace syco {
namespace {

constexpr const char* kStreamName = "arrow_array_stream";

void free_stream(PyObject* capsule) {
  auto* stream = static_cast<ArrowArrayStream*>(PyCapsule_GetPointer(capsule, kStreamName));
  const std::unique_ptr<ArrowArrayStream> owned(stream);
  if (stream->release != nullptr) stream->release(stream);
}

py::capsule make_capsule(std::unique_ptr<ArrowArrayStream> stream) {
  return py::capsule(stream.release(), kStreamName, &free_stream);
}

py::capsule table_capsule(const BatchTable& table, const py::object&) {
  auto stream = std::make_unique<ArrowArrayStream>();
  table.export_stream(stream.get());
  return make_capsule(std::move(stream));
}

py::capsule stream_capsule(TableStream& table, const py::object&) {
  require(table.source != nullptr, "this stream of prompts was already read; make a new one");
  auto stream = std::make_unique<ArrowArrayStream>();
  export_stream(table.fields, {}, std::exchange(table.source, nullptr), stream.get());
  return make_capsule(std::move(stream));
}

}  // namespace

ArrowTable import_table(const py::object& table, const std::string& name) {
  const py::object capsule = table.attr("__arrow_c_stream__")();
  auto* stream = static_cast<ArrowArrayStream*>(PyCapsule_GetPointer(capsule.ptr(), kStreamName));
  if (stream == nullptr) throw py::error_already_set();
  return {name, stream};
}

void bind_arrow(py::module_& m) {
  py::class_<BatchTable>(m, "Table", "A table in Arrow's memory layout; `pyarrow.table` reads it without a copy.")
      .def("__arrow_c_stream__", &table_capsule, py::arg("requested_schema") = py::none())
      .def("__len__", &BatchTable::num_rows);
  py::class_<TableStream>(m, "TableStream", "Batches made as they are read; `pyarrow.RecordBatchReader.from_stream`.")
      .def("__arrow_c_stream__", &stream_capsule, py::arg("requested_schema") = py::none());
}

}  // namespace syco
