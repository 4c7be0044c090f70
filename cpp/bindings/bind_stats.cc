// Statistics: Estimate, and intervals of rates, means and changes.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>

#include "bindings/bindings.h"
#include "bindings/spans.h"
#include "core/stats/clustered.h"
#include "core/stats/intervals.h"
#include "core/stats/special.h"

namespace py = pybind11;

namespace syco {
namespace {

void bind_estimate(py::module_& m) {
  using stats::Estimate;
  py::class_<Estimate>(m, "Estimate", "A number with everything that a reader needs to judge it.")
      .def(py::init([](double value, double low, double high, double standard_error, double confidence,
                       std::string method, std::int64_t n, std::int64_t num_clusters, std::int64_t num_unscored,
                       std::int64_t num_rose, std::int64_t num_fell, double pseudo, std::string reason) {
             return Estimate{value,        low,          high,     standard_error, confidence, std::move(method), n,
                             num_clusters, num_unscored, num_rose, num_fell,       pseudo,     std::move(reason)};
           }),
           py::kw_only(), py::arg("value") = Estimate{}.value, py::arg("low") = Estimate{}.low,
           py::arg("high") = Estimate{}.high, py::arg("standard_error") = Estimate{}.standard_error,
           py::arg("confidence") = Estimate{}.confidence, py::arg("method") = Estimate{}.method,
           py::arg("n") = Estimate{}.n, py::arg("num_clusters") = Estimate{}.num_clusters,
           py::arg("num_unscored") = Estimate{}.num_unscored, py::arg("num_rose") = Estimate{}.num_rose,
           py::arg("num_fell") = Estimate{}.num_fell, py::arg("pseudo") = Estimate{}.pseudo,
           py::arg("reason") = Estimate{}.reason)
      .def_readonly("value", &Estimate::value)
      .def_readonly("low", &Estimate::low)
      .def_readonly("high", &Estimate::high)
      .def_readonly("standard_error", &Estimate::standard_error)
      .def_readonly("confidence", &Estimate::confidence)
      .def_readonly("method", &Estimate::method)
      .def_readonly("n", &Estimate::n)
      .def_readonly("num_clusters", &Estimate::num_clusters)
      .def_readonly("num_unscored", &Estimate::num_unscored)
      .def_readonly("num_rose", &Estimate::num_rose)
      .def_readonly("num_fell", &Estimate::num_fell)
      .def_readonly("pseudo", &Estimate::pseudo)
      .def_readonly("reason", &Estimate::reason)
      .def(
          "__eq__", [](const Estimate& a, const Estimate& b) { return a == b; }, py::is_operator())
      .def("__repr__", [](const Estimate& e) {
        return py::
            str("Estimate(value={!r}, low={!r}, high={!r}, standard_error={!r}, confidence={!r}, method={!r}, "
                "n={!r}, num_clusters={!r}, num_unscored={!r}, num_rose={!r}, num_fell={!r}, pseudo={!r}, reason={!r})")
                .format(e.value, e.low, e.high, e.standard_error, e.confidence, e.method, e.n, e.num_clusters,
                        e.num_unscored, e.num_rose, e.num_fell, e.pseudo, e.reason);
      });
}

void bind_intervals(py::module_& m) {
  m.def("wilson", &stats::wilson, py::arg("successes"), py::arg("n"), py::kw_only(), py::arg("confidence") = 0.95);
  m.def("clopper_pearson", &stats::clopper_pearson, py::arg("successes"), py::arg("n"), py::kw_only(),
        py::arg("confidence") = 0.95);
  m.def("clopper_pearson_upper", py::overload_cast<std::int64_t, std::int64_t, double>(&stats::clopper_pearson_upper),
        py::arg("successes"), py::arg("n"), py::kw_only(), py::arg("confidence") = 0.95);
  m.def("t_quantile", &stats::t_quantile, py::arg("p"), py::arg("df"));
  m.def("t_cdf", &stats::t_cdf, py::arg("t"), py::arg("df"));
  m.def("normal_quantile", &stats::normal_quantile, py::arg("p"));
  m.def("incomplete_beta", &stats::incomplete_beta, py::arg("a"), py::arg("b"), py::arg("x"));
  m.def("incomplete_beta_inverse", &stats::incomplete_beta_inverse, py::arg("a"), py::arg("b"), py::arg("p"));
}

void bind_clustered(py::module_& m) {
  m.def(
      "clustered_mean",
      [](const Column<double>& values, const Column<std::int64_t>& clusters, double confidence, double low,
         double high) {
        const double pseudo = low == -high && std::isfinite(high) ? high : 0;  // limits of a difference
        return stats::clustered_mean(span_of(values), span_of(clusters), confidence, {low, high, pseudo});
      },
      py::arg("values"), py::arg("clusters"), py::kw_only(), py::arg("confidence") = 0.95,
      py::arg("range_low") = stats::Range{}.low, py::arg("range_high") = stats::Range{}.high);
  m.def(
      "paired_difference",
      [](const Column<double>& before, const Column<double>& after, const Column<std::int64_t>& clusters,
         double confidence, double low, double high) {
        return stats::paired_difference(span_of(before), span_of(after), span_of(clusters), confidence, {low, high});
      },
      py::arg("before"), py::arg("after"), py::arg("clusters"), py::kw_only(), py::arg("confidence") = 0.95,
      py::arg("range_low") = stats::Range{}.low, py::arg("range_high") = stats::Range{}.high);
  m.def("p_value", &stats::p_value, py::arg("estimate"));
}

}  // namespace

void bind_stats(py::module_& m) {
  bind_estimate(m);
  bind_intervals(m);
  bind_clustered(m);
}

}  // namespace syco
