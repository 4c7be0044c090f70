// NumPy columns at the border: converted to a contiguous array of the wanted type, then borrowed as a span.
#pragma once

#include <pybind11/numpy.h>

#include <span>

namespace syco {

template <typename T>
using Column = pybind11::array_t<T, pybind11::array::c_style | pybind11::array::forcecast>;

template <typename T>
std::span<const T> span_of(const Column<T>& column) {
  return {column.data(), static_cast<std::size_t>(column.size())};
}

// An array of our own from a vector.
template <typename T>
pybind11::array_t<T> array_of(const std::vector<T>& values) {
  return pybind11::array_t<T>(static_cast<pybind11::ssize_t>(values.size()), values.data());
}

}  // namespace syco
