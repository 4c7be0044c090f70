// The names of arms and orders, each at the place that is its code.
#include <pybind11/pybind11.h>

#include "bindings/bindings.h"
#include "core/base/arms.h"

namespace py = pybind11;

namespace syco {
namespace {

template <std::size_t kCount>
py::tuple names_of(const std::array<std::string_view, kCount>& names) {
  py::tuple result(kCount);
  for (std::size_t i = 0; i < kCount; ++i) result[i] = py::str(names[i]);
  return result;
}

}  // namespace

void bind_arms(py::module_& m) {
  m.attr("ARMS") = names_of(kArmNames);
  m.attr("ORDERS") = names_of(kOrderNames);
}

}  // namespace syco
