// Statistics: tests, paired tables, planning, logistic regression.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/spans.h"
#include "core/stats/hypothesis_tests.h"
#include "core/stats/logit.h"
#include "core/stats/paired.h"
#include "core/stats/permutation.h"
#include "core/stats/power.h"

namespace py = pybind11;

namespace syco {
namespace {

void bind_hypotheses(py::module_& m) {
  m.def("mcnemar_exact", &stats::mcnemar_exact, py::arg("b"), py::arg("c"));
  m.def(
      "holm", [](const Column<double>& p_values) { return array_of(stats::holm(span_of(p_values))); },
      py::arg("p_values"));
  m.def("cohens_h", &stats::cohens_h, py::arg("p1"), py::arg("p2"));
  m.def("tost", &stats::tost, py::arg("estimate"), py::arg("margin"));
  const stats::SignFlipOptions defaults;
  m.def(
      "sign_flip",
      [](const Column<double>& differences, const Column<std::int64_t>& clusters, std::int64_t num_permutations,
         std::uint64_t seed, int num_threads) {
        const py::gil_scoped_release released;
        return stats::sign_flip(span_of(differences), span_of(clusters), {num_permutations, seed, num_threads});
      },
      py::arg("differences"), py::arg("clusters"), py::kw_only(),
      py::arg("num_permutations") = defaults.num_permutations, py::arg("seed") = defaults.seed,
      py::arg("num_threads") = defaults.num_threads);
}

void bind_paired(py::module_& m) {
  using Count = std::int64_t;
  m.def(
      "tango",
      [](Count a, Count b, Count c, Count d, double confidence) { return stats::tango({a, b, c, d}, confidence); },
      py::arg("a"), py::arg("b"), py::arg("c"), py::arg("d"), py::kw_only(), py::arg("confidence") = 0.95);
  m.def(
      "newcombe",
      [](Count a, Count b, Count c, Count d, double confidence) { return stats::newcombe({a, b, c, d}, confidence); },
      py::arg("a"), py::arg("b"), py::arg("c"), py::arg("d"), py::kw_only(), py::arg("confidence") = 0.95);
}

void bind_planning(py::module_& m) {
  const stats::PowerOptions defaults;
  m.def("detectable", &stats::detectable, py::arg("estimate"), py::kw_only(), py::arg("power") = defaults.power);
  m.def(
      "mcnemar_sample_size",
      [](double p10, double p01, double alpha, double power) {
        return stats::mcnemar_sample_size(p10, p01, {alpha, power});
      },
      py::arg("p10"), py::arg("p01"), py::kw_only(), py::arg("alpha") = defaults.alpha,
      py::arg("power") = defaults.power);
  m.def("mcnemar_power", &stats::mcnemar_power, py::arg("n"), py::arg("p10"), py::arg("p01"), py::kw_only(),
        py::arg("alpha") = defaults.alpha);
  m.def(
      "clusters_needed",
      [](double effect, double sd, double alpha, double power) {
        return stats::clusters_needed(effect, sd, {alpha, power});
      },
      py::arg("effect"), py::arg("sd"), py::kw_only(), py::arg("alpha") = defaults.alpha,
      py::arg("power") = defaults.power);
}

void bind_logit(py::module_& m) {
  using stats::LogitFit;
  py::class_<LogitFit>(m, "LogitFit", "Coefficients of a logistic regression with clustered standard errors.")
      .def_property_readonly("coefficient", [](const LogitFit& fit) { return array_of(fit.coefficient); })
      .def_property_readonly("standard_error", [](const LogitFit& fit) { return array_of(fit.standard_error); })
      .def_property_readonly("low", [](const LogitFit& fit) { return array_of(fit.low); })
      .def_property_readonly("high", [](const LogitFit& fit) { return array_of(fit.high); })
      .def_property_readonly("p_value", [](const LogitFit& fit) { return array_of(fit.p_value); })
      .def_readonly("n", &LogitFit::n)
      .def_readonly("num_clusters", &LogitFit::num_clusters)
      .def_readonly("num_unscored", &LogitFit::num_unscored)
      .def_readonly("reason", &LogitFit::reason);
  m.def(
      "logit",
      [](const Column<double>& design, std::int64_t num_columns, const Column<double>& y,
         const Column<std::int64_t>& clusters, double confidence) {
        return stats::logit(span_of(design), num_columns, span_of(y), span_of(clusters), {.confidence = confidence});
      },
      py::arg("design"), py::arg("num_columns"), py::arg("y"), py::arg("clusters"), py::kw_only(),
      py::arg("confidence") = stats::LogitOptions{}.confidence);
}

}  // namespace

void bind_hypothesis_tests(py::module_& m) {
  bind_hypotheses(m);
  bind_paired(m);
  bind_planning(m);
  bind_logit(m);
}

}  // namespace syco
