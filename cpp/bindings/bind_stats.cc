// Statistics: Estimate and the functions of core/stats.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/spans.h"
#include "core/stats/bootstrap.h"
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
                       std::string reason) {
             return Estimate{value, low,          high,         standard_error,   confidence, std::move(method),
                             n,     num_clusters, num_unscored, std::move(reason)};
           }),
           py::kw_only(), py::arg("value") = Estimate{}.value, py::arg("low") = Estimate{}.low,
           py::arg("high") = Estimate{}.high, py::arg("standard_error") = Estimate{}.standard_error,
           py::arg("confidence") = Estimate{}.confidence, py::arg("method") = Estimate{}.method,
           py::arg("n") = Estimate{}.n, py::arg("num_clusters") = Estimate{}.num_clusters,
           py::arg("num_unscored") = Estimate{}.num_unscored, py::arg("reason") = Estimate{}.reason)
      .def_readonly("value", &Estimate::value)
      .def_readonly("low", &Estimate::low)
      .def_readonly("high", &Estimate::high)
      .def_readonly("standard_error", &Estimate::standard_error)
      .def_readonly("confidence", &Estimate::confidence)
      .def_readonly("method", &Estimate::method)
      .def_readonly("n", &Estimate::n)
      .def_readonly("num_clusters", &Estimate::num_clusters)
      .def_readonly("num_unscored", &Estimate::num_unscored)
      .def_readonly("reason", &Estimate::reason)
      .def(
          "__eq__", [](const Estimate& a, const Estimate& b) { return a == b; }, py::is_operator())
      .def("__repr__", [](const Estimate& e) {
        return py::str(
                   "Estimate(value={!r}, low={!r}, high={!r}, standard_error={!r}, confidence={!r}, method={!r}, "
                   "n={!r}, num_clusters={!r}, num_unscored={!r}, reason={!r})")
            .format(e.value, e.low, e.high, e.standard_error, e.confidence, e.method, e.n, e.num_clusters,
                    e.num_unscored, e.reason);
      });
}

void bind_intervals(py::module_& m) {
  m.def("wilson", &stats::wilson, py::arg("successes"), py::arg("n"), py::kw_only(), py::arg("confidence") = 0.95);
  m.def("clopper_pearson", &stats::clopper_pearson, py::arg("successes"), py::arg("n"), py::kw_only(),
        py::arg("confidence") = 0.95);
  m.def("clopper_pearson_upper", &stats::clopper_pearson_upper, py::arg("successes"), py::arg("n"), py::kw_only(),
        py::arg("confidence") = 0.95);
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
         double high) { return stats::clustered_mean(span_of(values), span_of(clusters), confidence, {low, high}); },
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

void bind_bootstrap(py::module_& m) {
  using stats::BootstrapMethod;
  using stats::BootstrapOptions;
  const BootstrapOptions defaults;
  m.def(
      "bootstrap_mean",
      [](const Column<double>& values, const Column<std::int64_t>& clusters, bool bca, double confidence,
         std::int64_t num_resamples, std::uint64_t seed, int num_threads) {
        const py::gil_scoped_release released;
        return stats::bootstrap_mean(
            span_of(values), span_of(clusters),
            {bca ? BootstrapMethod::kBca : BootstrapMethod::kPercentile, confidence, num_resamples, seed, num_threads});
      },
      py::arg("values"), py::arg("clusters"), py::kw_only(), py::arg("bca") = true,
      py::arg("confidence") = defaults.confidence, py::arg("num_resamples") = defaults.num_resamples,
      py::arg("seed") = defaults.seed, py::arg("num_threads") = defaults.num_threads);
  m.def(
      "bootstrap_distribution",
      [](const Column<double>& values, const Column<std::int64_t>& clusters, std::int64_t num_resamples,
         std::uint64_t seed, int num_threads) {
        const stats::ClusterTotals totals = stats::cluster_totals(span_of(values), span_of(clusters));
        return array_of(stats::bootstrap_distribution(
            {&totals.mean, 1}, {.num_resamples = num_resamples, .seed = seed, .num_threads = num_threads}));
      },
      py::arg("values"), py::arg("clusters"), py::kw_only(), py::arg("num_resamples") = defaults.num_resamples,
      py::arg("seed") = defaults.seed, py::arg("num_threads") = defaults.num_threads);
}

}  // namespace

void bind_stats(py::module_& m) {
  bind_estimate(m);
  bind_intervals(m);
  bind_clustered(m);
  bind_bootstrap(m);
}

}  // namespace syco
