// The plan of shared prefixes, for planning without a model and for tests against a slow twin.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "bindings/bindings.h"
#include "bindings/spans.h"
#include "core/plan/trie.h"

namespace py = pybind11;

namespace syco {
namespace {

Plan plan_of(const Column<std::int32_t>& tokens, const Column<std::int64_t>& offsets,
             const Column<std::int32_t>& num_context) {
  const Sequences sequences{span_of(tokens), span_of(offsets), span_of(num_context)};
  const py::gil_scoped_release no_gil;
  return make_plan(sequences);
}

// One row a target: (row, token, sequence).
py::array_t<std::int64_t> targets_of(const Plan& plan) {
  py::array_t<std::int64_t> result({static_cast<py::ssize_t>(plan.targets.size()), py::ssize_t{3}});
  auto cells = result.mutable_unchecked<2>();
  for (py::ssize_t i = 0; i < cells.shape(0); ++i) {
    const Target& target = plan.targets[i];
    cells(i, 0) = target.row, cells(i, 1) = target.token, cells(i, 2) = target.sequence;
  }
  return result;
}

}  // namespace

void bind_trie(py::module_& m) {
  py::class_<Plan>(m, "Plan", "Token sequences laid out so that every shared token is run once, in depth-first order.")
      .def_property_readonly(
          "tokens", [](const Plan& p) { return array_of(p.tokens); }, "Token of each row.")
      .def_property_readonly(
          "depths", [](const Plan& p) { return array_of(p.depths); }, "Position in its sequence.")
      .def_property_readonly(
          "parents", [](const Plan& p) { return array_of(p.parents); }, "Row of the token before, or -1.")
      .def_property_readonly("targets", &targets_of, "Scored tokens: (row that predicts it, token, sequence).")
      .def_readonly("num_tokens_unshared", &Plan::num_tokens_unshared)
      .def_readonly("max_depth", &Plan::max_depth)
      .def_property_readonly("num_tokens", &Plan::num_tokens, "Tokens to run.")
      .def("__eq__", [](const Plan& a, const Plan& b) { return a == b; })
      .def("__repr__", [](const Plan& p) {
        return "Plan(num_tokens=" + std::to_string(p.num_tokens()) +
               ", num_tokens_unshared=" + std::to_string(p.num_tokens_unshared) + ")";
      });
  m.def("make_plan", &plan_of, py::arg("tokens"), py::arg("offsets"), py::arg("num_context"),
        "Lay ragged token sequences out, each with num_context given tokens and at least one to score.");
}

}  // namespace syco
