// Examples, claims, prompts, additions and mixes. Tables come as objects with __arrow_c_stream__ and leave as Table.
#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/arrow_capsule.h"
#include "bindings/bindings.h"
#include "core/base/rng.h"
#include "core/generation/addition.h"
#include "core/generation/claims.h"
#include "core/generation/examples.h"
#include "core/generation/generate.h"
#include "core/generation/mix.h"
#include "core/generation/prompt_batch.h"
#include "core/generation/prompts.h"
#include "core/generation/protocol.h"
#include "core/generation/turns.h"
#include "core/tables/jsonl.h"

namespace py = pybind11;

namespace syco {
namespace {

template <typename T, typename Parse>
std::vector<T> parse_all(const std::vector<std::string>& names, Parse parse) {
  std::vector<T> values(names.size());
  std::ranges::transform(names, values.begin(), parse);
  return values;
}

ClaimOptions claim_options(const std::string& recipe, double negated_share) {
  return {.recipe = parse_recipe(recipe), .negated_share = negated_share};
}

PromptOptions prompt_options(const std::vector<std::string>& templates, const std::string& split,
                             const std::vector<std::string>& arms, const std::vector<std::string>& orders) {
  return {.templates = {templates, split},
          .arms = parse_all<Arm>(arms, parse_arm),
          .orders = parse_all<Order>(orders, parse_order)};
}

std::map<std::string, std::int64_t> counts_by_reason(const DropCounts& dropped) {
  return {{"unlabelled", dropped.unlabelled},
          {"label_out_of_range", dropped.label_out_of_range},
          {"empty_text", dropped.empty_text},
          {"conflicting_label", dropped.conflicting_label},
          {"duplicate", dropped.duplicate}};
}

// Prompts to be made, and all that their rows refer to.
class Generation {
 public:
  Generation(const py::object& examples, std::shared_ptr<const Protocol> protocol, const GenerateOptions& options,
             std::uint64_t seed)
      : table_(import_table(examples, "examples")),
        examples_(read_examples(table_)),
        protocol_(std::move(protocol)),
        prompts_(generated_rows(examples_, *protocol_, options, seed)) {}

  const PromptRows& prompts() const { return *prompts_; }

 private:
  ArrowTable table_;
  Examples examples_;
  std::shared_ptr<const Protocol> protocol_;
  std::unique_ptr<PromptRows> prompts_;
};

std::shared_ptr<Generation> make_generation(const py::object& examples, std::shared_ptr<const Protocol> protocol,
                                            std::int64_t n, const std::string& recipe, const std::string& split,
                                            bool repeat_claims, std::uint64_t seed) {
  GenerateOptions options;
  options.claims.recipe = parse_recipe(recipe);
  options.templates.split = split;
  options.num_prompts = n;
  options.repeat_claims = repeat_claims;
  return std::make_shared<Generation>(examples, std::move(protocol), options, seed);
}

void bind_examples(py::module_& m) {
  m.def(
      "read_jsonl",
      [](const std::string& text, const std::vector<std::string>& texts, const std::string& label,
         const std::vector<std::string>& labels,
         const std::string& where) { return read_jsonl(text, {texts, label, labels}, where); },
      py::arg("text"), py::kw_only(), py::arg("texts"), py::arg("label"), py::arg("labels"), py::arg("where"),
      py::call_guard<py::gil_scoped_release>(), "Read the named keys of JSON Lines; an empty label means none.");
  m.def("clean_field", &clean_field, py::arg("text"), "Clean and quote one text as published.");
  m.def(
      "clean_examples",
      [](const py::object& raw, const std::string& source, const std::vector<std::string>& fields,
         const std::string& label, const std::vector<std::string>& labels) {
        const ArrowTable table = import_table(raw, source);
        const py::gil_scoped_release release;
        CleanedExamples cleaned = clean_examples(table, {source, fields, label, labels});
        return std::make_tuple(std::move(cleaned.table), counts_by_reason(cleaned.dropped));
      },
      py::arg("raw"), py::kw_only(), py::arg("source"), py::arg("fields"), py::arg("label"), py::arg("labels"),
      "Clean the rows of one data set; the table of examples and the number of rows dropped by reason.");
  m.def("sample_positions", &sample_positions, py::arg("size"), py::arg("count"), py::arg("seed"),
        "Positions of `count` of `size` items, drawn without repetition, ascending.");
}

void bind_claims(py::module_& m) {
  m.def(
      "make_claims",
      [](const py::object& examples, const std::string& recipe, double negated_share, std::int64_t claims_per_example,
         std::uint64_t seed) {
        const ArrowTable table = import_table(examples, "examples");
        const py::gil_scoped_release release;
        return make_claims(read_examples(table), claim_options(recipe, negated_share), claims_per_example, seed);
      },
      py::arg("examples"), py::kw_only(), py::arg("recipe"), py::arg("negated_share"), py::arg("claims_per_example"),
      py::arg("seed"), "Claims of every example, in the examples' order.");
  m.def(
      "make_additions",
      [](std::int64_t first_operand, std::int64_t last_operand, double true_share,
         const std::vector<std::string>& errors, std::int64_t near_max, std::int64_t n, std::uint64_t seed) {
        const auto kinds = parse_all<SumError>(errors, parse_sum_error);
        return make_additions({first_operand, last_operand, true_share, kinds, near_max}, n, seed);
      },
      py::kw_only(), py::arg("first_operand"), py::arg("last_operand"), py::arg("true_share"), py::arg("errors"),
      py::arg("near_max"), py::arg("n"), py::arg("seed"), py::call_guard<py::gil_scoped_release>(),
      "True and false sums as claims.");
}

void bind_prompts(py::module_& m) {
  py::class_<Protocol, std::shared_ptr<Protocol>>(m, "Protocol", "Wording of prompts, checked and compiled.")
      .def(py::init([](const std::string& protocol, const std::string& names) {
             return std::make_shared<Protocol>(parse_protocol(protocol, names));
           }),
           py::arg("protocol"), py::arg("names"))
      .def_readonly("name", &Protocol::name)
      .def_readonly("choices", &Protocol::choices)
      .def_property_readonly("template_ids", &Protocol::template_ids)
      .def_property_readonly("num_names", &Protocol::num_names);
  m.def(
      "split_wording",
      [](const std::string& wording) {
        Template text;
        text.append({wording, Template::kNoSlot});
        std::vector<std::pair<std::string, std::string>> turns;
        for (const Turn& turn : split_turns(text, "wording")) {
          turns.emplace_back(role_name(turn.role), turn.text.render({}));
        }
        return turns;
      },
      py::arg("wording"), "Role and text of each turn of a wording, cut at its Human: and Assistant: markers.");
  m.def(
      "make_prompts",
      [](const py::object& claims, const Protocol& protocol, const std::vector<std::string>& templates,
         const std::string& split, const std::vector<std::string>& arms, const std::vector<std::string>& orders,
         const std::string& design, std::uint64_t seed) {
        const ArrowTable table = import_table(claims, "claims");
        const py::gil_scoped_release release;
        const auto prompts = prompt_rows(read_claims(table), protocol, prompt_options(templates, split, arms, orders),
                                         parse_design(design), seed);
        return make_prompt_table(*prompts, {0, prompts->num_rows()}, 0);
      },
      py::arg("claims"), py::arg("protocol"), py::kw_only(), py::arg("templates"), py::arg("split"), py::arg("arms"),
      py::arg("orders"), py::arg("design"), py::arg("seed"), "Prompts of claims.");
}

void bind_generate(py::module_& m) {
  py::class_<Generation, std::shared_ptr<Generation>>(
      m, "Generation", "The prompts of a job; rows [begin, end) of it can be made anywhere, by any number of threads.")
      .def(py::init(&make_generation), py::arg("examples"), py::arg("protocol").none(false), py::kw_only(),
           py::arg("n"), py::arg("recipe"), py::arg("split"), py::arg("repeat_claims"), py::arg("seed"))
      .def(
          "table",
          [](const Generation& job, std::int64_t begin, std::int64_t end, int threads) {
            return make_prompt_table(job.prompts(), {begin, end}, threads);
          },
          py::arg("begin"), py::arg("end"), py::arg("threads"), py::call_guard<py::gil_scoped_release>())
      .def(
          "stream",
          [](const std::shared_ptr<Generation>& job, std::int64_t begin, std::int64_t end, int threads) {
            const std::shared_ptr<const PromptRows> prompts(job, &job->prompts());
            return TableStream{prompt_fields(), stream_prompts(prompts, {begin, end}, threads)};
          },
          py::arg("begin"), py::arg("end"), py::arg("threads"))
      .def(
          "tally",
          [](const Generation& job, std::int64_t begin, std::int64_t end, int threads) {
            const PromptTally tally = tally_prompts(job.prompts(), {begin, end}, threads);
            return std::make_tuple(tally.num_rows, tally.num_bytes, tally.digest);
          },
          py::arg("begin"), py::arg("end"), py::arg("threads"), py::call_guard<py::gil_scoped_release>(),
          "Make all rows in recycled memory, keep none: their number, bytes of text and digest.");
}

void bind_mix(py::module_& m) {
  m.def(
      "draw_instructions",
      [](const py::object& instructions, const std::string& source, std::uint64_t count, std::uint64_t seed) {
        const ArrowTable table = import_table(instructions, "instructions");
        const py::gil_scoped_release release;
        return draw_instructions(table, source, count, {}, seed);
      },
      py::arg("instructions"), py::kw_only(), py::arg("source"), py::arg("count"), py::arg("seed"),
      "Instruction rows as training rows, in random order; a row comes again only after all others came.");
  m.def(
      "mix",
      [](const py::object& prompts, const py::object& rows, std::uint64_t seed) {
        const ArrowTable prompts_table = import_table(prompts, "prompts");
        const ArrowTable rows_table = import_table(rows, "training rows");
        const py::gil_scoped_release release;
        return mix(prompts_table, rows_table, seed);
      },
      py::arg("prompts"), py::arg("rows"), py::kw_only(), py::arg("seed"),
      "Training rows: prompts with their right choice, and other training rows evenly among them.");
}

void bind_random(py::module_& m) {
  m.def(
      "philox",
      [](std::uint64_t seed, std::uint64_t stream, std::uint64_t index, std::size_t count) {
        Draws draws(seed, stream, index);
        std::vector<std::uint64_t> words(count);
        std::ranges::generate(words, [&draws] { return draws.next(); });
        return words;
      },
      py::arg("seed"), py::arg("stream"), py::arg("index"), py::arg("count"), "The first draws of one item.");
}

}  // namespace

void bind_generation(py::module_& m) {
  bind_random(m);
  bind_examples(m);
  bind_claims(m);
  bind_prompts(m);
  bind_generate(m);
  bind_mix(m);
}

}  // namespace syco
