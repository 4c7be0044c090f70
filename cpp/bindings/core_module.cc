// The module _core: everything that needs no torch. One bind_*() per subject, each in its own file.
#include <pybind11/pybind11.h>

#include <exception>
#include <stdexcept>
#include <utility>

#include "bindings/bindings.h"
#include "core/base/errors.h"

namespace py = pybind11;

PYBIND11_MODULE(_core, m) {
  m.doc() = "C++ core of sycophancy_core: generation, planning, scoring on the CPU, statistics. Needs no torch.";
  py::register_exception<syco::DataError>(m, "DataError", PyExc_ValueError);
  py::register_exception<syco::ModelError>(m, "ModelError", PyExc_RuntimeError);
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(std::move(thrown));
    } catch (const std::length_error& error) {  // of a size that no memory holds; pybind11 would make it a ValueError
      PyErr_SetString(PyExc_MemoryError, error.what());
    }
  });
  syco::bind_arms(m);
  syco::bind_stats(m);
  syco::bind_hypothesis_tests(m);
  syco::bind_metrics(m);
  syco::bind_filter(m);
  syco::bind_arrow(m);
  syco::bind_generation(m);
  syco::bind_trie(m);
  syco::bind_panels(m);
}
