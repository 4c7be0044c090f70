// The knowledge filter.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "bindings/bindings.h"
#include "bindings/spans.h"
#include "core/metrics/filter.h"

namespace py = pybind11;

namespace syco {
namespace {

void bind_risk(py::module_& m) {
  py::class_<RiskPoint>(m, "RiskPoint", "Claims with confidence >= threshold: their share, their errors, a bound.")
      .def_readonly("threshold", &RiskPoint::threshold)
      .def_readonly("coverage", &RiskPoint::coverage)
      .def_readonly("error", &RiskPoint::error)
      .def_readonly("upper_bound", &RiskPoint::upper_bound)
      .def_readonly("n", &RiskPoint::n)
      .def_readonly("num_examples", &RiskPoint::num_examples);
  py::class_<ThresholdChoice>(m, "ThresholdChoice", "The laxest threshold that passes, or the reason why none does.")
      .def_readonly("point", &ThresholdChoice::point)
      .def_readonly("reason", &ThresholdChoice::reason);
  m.def(
      "risk_coverage",
      [](const Column<double>& confidence, const Column<std::int8_t>& is_wrong, const Column<std::int64_t>& example,
         const Column<double>& thresholds, double bound_confidence) {
        return risk_coverage(span_of(confidence), span_of(is_wrong), span_of(example), span_of(thresholds),
                             bound_confidence);
      },
      py::arg("confidence"), py::arg("is_wrong"), py::arg("example"), py::arg("thresholds"), py::kw_only(),
      py::arg("bound_confidence") = 0.95);
  m.def(
      "choose_threshold",
      [](const Column<double>& confidence, const Column<std::int8_t>& is_wrong, const Column<std::int64_t>& example,
         const Column<double>& thresholds, double max_error, double delta) {
        return choose_threshold(span_of(confidence), span_of(is_wrong), span_of(example), span_of(thresholds),
                                max_error, delta);
      },
      py::arg("confidence"), py::arg("is_wrong"), py::arg("example"), py::arg("thresholds"), py::kw_only(),
      py::arg("max_error"), py::arg("delta") = 0.05);
}

}  // namespace

void bind_filter(py::module_& m) {
  py::enum_<FilterRule>(m, "FilterRule")
      .value("margin", FilterRule::kMargin)
      .value("contrast", FilterRule::kContrast)
      .value("wei2023", FilterRule::kWei2023);
  const FilterOptions defaults;
  m.def(
      "judge_claims",
      [](const Column<std::int64_t>& claim, const Column<std::int8_t>& arm, const Column<std::int8_t>& order,
         const Column<double>& log_odds, const Column<std::int8_t>& is_true, const Column<std::int64_t>& example,
         FilterRule rule, double threshold, bool orders_agree) {
        const FilterTable table =
            judge_claims({span_of(claim), span_of(arm), span_of(order), span_of(log_odds), {}},
                         {span_of(is_true), span_of(example), {}}, {rule, threshold, orders_agree});
        std::vector<const char*> reasons(table.verdict.size());
        std::ranges::transform(table.verdict, reasons.begin(), reason_of);
        return py::make_tuple(array_of(table.margin), array_of(table.letter_bias), reasons);
      },
      py::kw_only(), py::arg("claim"), py::arg("arm"), py::arg("order"), py::arg("log_odds"), py::arg("is_true"),
      py::arg("example"), py::arg("rule"), py::arg("threshold") = defaults.threshold,
      py::arg("orders_agree") = defaults.orders_agree);
  bind_risk(m);
}

}  // namespace syco
