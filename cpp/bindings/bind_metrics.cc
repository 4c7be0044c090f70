// Metrics of claims and of questions.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/spans.h"
#include "core/metrics/choice_metrics.h"
#include "core/metrics/claim_cells.h"
#include "core/metrics/metrics.h"

namespace py = pybind11;

namespace syco {
namespace {

// Owns the arrays behind a ClaimRows.
struct RowColumns {
  Column<std::int64_t> claim;
  Column<std::int8_t> arm;
  Column<std::int8_t> order;
  Column<double> log_odds;
  Column<double> choice_mass;
  Column<std::int64_t> pair;
  ClaimRows view() const {
    return {span_of(claim), span_of(arm), span_of(order), span_of(log_odds), span_of(choice_mass), span_of(pair)};
  }
};

struct FactColumns {
  Column<std::int8_t> is_true;
  Column<std::int64_t> cluster;
  Column<std::int8_t> known;
  ClaimFacts view() const { return {span_of(is_true), span_of(cluster), span_of(known)}; }
};

struct ChoiceColumns {
  Column<std::int64_t> question;
  Column<std::int64_t> pair;
  Column<std::int8_t> arm;
  Column<std::int64_t> user_choice;
  Column<std::int64_t> target;
  Column<std::int64_t> num_choices;
  Column<double> log_prob;
  ChoiceRows view() const {
    return {span_of(question), span_of(pair),        span_of(arm),     span_of(user_choice),
            span_of(target),   span_of(num_choices), span_of(log_prob)};
  }
};

void bind_columns(py::module_& m) {
  py::class_<RowColumns>(m, "ClaimRows",
                         "One row a prompt; claim, arm, order and pair (or empty) are codes, log_odds NaN = unscored.")
      .def(py::init([](Column<std::int64_t> claim, Column<std::int8_t> arm, Column<std::int8_t> order,
                       Column<double> log_odds, Column<double> choice_mass, Column<std::int64_t> pair) {
             return RowColumns{std::move(claim),    std::move(arm),         std::move(order),
                               std::move(log_odds), std::move(choice_mass), std::move(pair)};
           }),
           py::kw_only(), py::arg("claim"), py::arg("arm"), py::arg("order"), py::arg("log_odds"),
           py::arg("choice_mass"), py::arg("pair"));
  py::class_<FactColumns>(m, "ClaimFacts", "One row a claim: truth (-1 unknown), cluster, known (or empty).")
      .def(py::init([](Column<std::int8_t> is_true, Column<std::int64_t> cluster, Column<std::int8_t> known) {
             return FactColumns{std::move(is_true), std::move(cluster), std::move(known)};
           }),
           py::kw_only(), py::arg("is_true"), py::arg("cluster"), py::arg("known"));
  py::class_<ChoiceColumns>(m, "ChoiceRows",
                            "One row a prompt; question, pair and arm are codes, user_choice and target -1 for none, "
                            "log_prob (n, k) not finite = unscored.")
      .def(py::init([](Column<std::int64_t> question, Column<std::int64_t> pair, Column<std::int8_t> arm,
                       Column<std::int64_t> user_choice, Column<std::int64_t> target, Column<std::int64_t> num_choices,
                       Column<double> log_prob) {
             return ChoiceColumns{std::move(question),    std::move(pair),   std::move(arm),
                                  std::move(user_choice), std::move(target), std::move(num_choices),
                                  std::move(log_prob)};
           }),
           py::kw_only(), py::arg("question"), py::arg("pair"), py::arg("arm"), py::arg("user_choice"),
           py::arg("target"), py::arg("num_choices"), py::arg("log_prob"));
}

void bind_choices(py::module_& m) {
  py::enum_<QuestionKind>(m, "QuestionKind")
      .value("opinions", QuestionKind::kOpinions)
      .value("accuracy", QuestionKind::kAccuracy)
      .value("second_turn", QuestionKind::kSecondTurn)
      .value("letters", QuestionKind::kLetters);
  m.def(
      "measure_choices",
      [](const ChoiceColumns& rows, QuestionKind kind, const Column<std::int8_t>& known, double confidence) {
        const py::gil_scoped_release released;
        return measure_choices(rows.view(), kind, span_of(known), confidence);
      },
      py::arg("rows"), py::arg("kind"), py::arg("known"), py::kw_only(), py::arg("confidence") = 0.95);
  m.def(
      "compare_choices",
      [](const ChoiceColumns& before, const ChoiceColumns& after, QuestionKind kind, const Column<std::int8_t>& known,
         double confidence) {
        const py::gil_scoped_release released;
        return compare_choices(before.view(), after.view(), kind, span_of(known), confidence);
      },
      py::arg("before"), py::arg("after"), py::arg("kind"), py::arg("known"), py::kw_only(),
      py::arg("confidence") = 0.95);
  m.def(
      "known_questions", [](const ChoiceColumns& rows) { return array_of(known_questions(Choices(rows.view()))); },
      py::arg("rows"));
}

}  // namespace

void bind_metrics(py::module_& m) {
  bind_columns(m);
  py::class_<MetricEstimate>(m, "MetricEstimate", "A named estimate.")
      .def_readonly("metric", &MetricEstimate::metric)
      .def_readonly("estimate", &MetricEstimate::estimate);
  py::class_<MetricChange>(m, "MetricChange", "A metric before, after, and its paired change.")
      .def_readonly("metric", &MetricChange::metric)
      .def_readonly("before", &MetricChange::before)
      .def_readonly("after", &MetricChange::after)
      .def_readonly("change", &MetricChange::change);
  bind_choices(m);
  m.def(
      "measure_claims",
      [](const RowColumns& rows, const FactColumns& facts, double confidence) {
        const py::gil_scoped_release released;
        return measure_claims(rows.view(), facts.view(), confidence);
      },
      py::arg("rows"), py::arg("facts"), py::kw_only(), py::arg("confidence") = 0.95);
  m.def(
      "compare_claims",
      [](const RowColumns& before, const RowColumns& after, const FactColumns& facts, double confidence) {
        const py::gil_scoped_release released;
        return compare_claims(before.view(), after.view(), facts.view(), confidence);
      },
      py::arg("before"), py::arg("after"), py::arg("facts"), py::kw_only(), py::arg("confidence") = 0.95);
  m.def(
      "claim_margins",
      [](const RowColumns& rows, std::int64_t num_claims) {
        const ClaimMargins margins = claim_margins(rows.view(), num_claims);
        return py::make_tuple(array_of(margins.margin), array_of(margins.letter_bias));
      },
      py::arg("rows"), py::arg("num_claims"));
}

}  // namespace syco
