// Tables over the border: Arrow streams in PyCapsules (arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface).
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "core/tables/arrow.h"
#include "core/tables/arrow_batch.h"

namespace syco {

// Reads any object that has __arrow_c_stream__, such as a pyarrow.Table. `name` is what errors call it.
ArrowTable import_table(const pybind11::object& table, const std::string& name);

// Batches that are made as they are read; can be read once.
struct TableStream {
  Fields fields;
  BatchSource source;
};

}  // namespace syco
