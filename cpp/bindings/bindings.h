// One bind_*() per subject; core_module.cc calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace syco {

void bind_arms(pybind11::module_& m);
void bind_metrics(pybind11::module_& m);
void bind_stats(pybind11::module_& m);
void bind_arrow(pybind11::module_& m);
void bind_generation(pybind11::module_& m);
void bind_trie(pybind11::module_& m);
void bind_hypothesis_tests(pybind11::module_& m);
void bind_filter(pybind11::module_& m);
void bind_panels(pybind11::module_& m);

}  // namespace syco
