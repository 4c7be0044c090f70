#include "core/generation/claims.h"

#include <cmath>
#include <numeric>
#include <unordered_map>

#include "core/base/errors.h"
#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/generation/claim_table.h"

namespace syco {
namespace {

constexpr const char* kLabelsKey = "sycophancy_core.labels";

Source new_source(const Json& labels, const std::string& name) {
  require(labels.contains(name),
          "examples: the schema's metadata '" + std::string(kLabelsKey) + "' lacks source '" + name +
              "', as after pyarrow.concat_tables, which keeps the first table's only; set it to the "
              "JSON of what examples.labels_of gives for every table together");
  return {name, json_texts(labels, name, "examples: the schema's metadata '" + std::string(kLabelsKey) + "'"), {}};
}

std::vector<std::uint64_t> label_counts(const Examples& examples, const Source& source) {
  std::vector<std::uint64_t> counts(source.labels.size());
  for (const std::size_t row : source.rows) ++counts[examples.labels[row]];
  return counts;
}

}  // namespace

Examples read_examples(const ArrowTable& table) {
  Examples examples;
  examples.ids = table.strings("id");
  examples.inputs = table.strings("input");
  const std::vector<std::string_view> names = table.strings("source");
  const std::vector<std::int64_t> labels = table.integers("label");
  require(!examples.ids.empty(), "examples: the table is empty; load at least one labelled example");
  const std::string metadata = table.metadata(kLabelsKey);
  require(!metadata.empty(), "examples: the schema has no metadata '" + std::string(kLabelsKey) +
                                 "', which names the labels of every source; make the table with load_examples");
  const Json label_names = parse_json(metadata, "examples: " + std::string(kLabelsKey));
  std::unordered_map<std::string_view, std::size_t> index;
  for (std::size_t row = 0; row < names.size(); ++row) {
    const auto [found, is_new] = index.try_emplace(names[row], examples.source_list.size());
    if (is_new) examples.source_list.push_back(new_source(label_names, std::string(names[row])));
    Source& source = examples.source_list[found->second];
    if (labels[row] < 0 || labels[row] >= std::ssize(source.labels)) {
      throw DataError("examples: row " + std::to_string(row) + " of source '" + source.name + "' has label " +
                      std::to_string(labels[row]) + ", expected 0 to " + std::to_string(source.labels.size() - 1));
    }
    examples.labels.push_back(static_cast<std::size_t>(labels[row]));
    examples.sources.push_back(found->second);
    examples.ranks.push_back(source.rows.size());
    source.rows.push_back(row);
  }
  return examples;
}

Recipe parse_recipe(std::string_view name) {
  if (name == "wei2023") return Recipe::kWei2023;
  require(name == "balanced", "unknown recipe '" + std::string(name) + "'; the recipes are balanced, wei2023");
  return Recipe::kBalanced;
}

ClaimSchedule::ClaimSchedule(const Examples& examples, const ClaimOptions& options, Rng rng)
    : examples_(&examples), options_(options), rng_(rng) {
  const double share = options.negated_share;
  const bool is_balanced = options.recipe == Recipe::kBalanced;
  require(share >= 0 && share <= 1, "claims: negated_share must be in [0, 1], got " + std::to_string(share));
  require(!is_balanced || share == 0 || share == 0.5 || share == 1,
          "claims: recipe balanced needs negated_share 0, 0.5 or 1, got " + std::to_string(share));
  const std::uint64_t num_polarities = share > 0 && share < 1 ? 2 : 1;
  period_ = is_balanced ? 2 * num_polarities : num_polarities;
  for (std::size_t s = 0; s < examples.source_list.size(); ++s) {
    const Source& source = examples.source_list[s];
    require(!is_balanced || source.labels.size() > 1,
            "claims: recipe balanced states wrong labels, but source '" + source.name + "' has one label only");
    if (is_balanced) wrong_labels_.emplace_back(label_counts(examples, source));
    orders_.emplace_back(source.rows.size(), rng_.at(Stream::kExamples, s));
    cell_offsets_.push_back(rng_.at(Stream::kCells, s).below(period_));
    common_factors_.push_back(std::gcd(source.rows.size(), period_));
  }
}

// The cells go round along (pass, position). Where a period divides the source's size, or shares a factor with it, the
// round would meet an example in the same cell again; it then shifts by one whenever all cells are equally full.
std::uint64_t ClaimSchedule::cell(std::size_t source, std::uint64_t position, std::uint64_t pass) const {
  const std::uint64_t size = examples_->source_list[source].rows.size();
  const std::uint64_t shift = pass * common_factors_[source] / period_;
  return (pass * size + position + shift + cell_offsets_[source]) % period_;
}

Claim ClaimSchedule::make(std::size_t row, std::uint64_t position, std::uint64_t pass) const {
  Claim claim{.example = row, .stated_label = examples_->labels[row]};
  if (options_.recipe == Recipe::kWei2023) {
    const bool first = rng_.at(Stream::kPolarity, pass / 2 * examples_->size() + row).unit() < options_.negated_share;
    claim.is_negated = first != (period_ == 2 && pass % 2 == 1);
    claim.is_true = !claim.is_negated;
    return claim;
  }
  const std::uint64_t drawn = cell(examples_->sources[row], position, pass);
  claim.is_true = drawn % 2 == 0;
  claim.is_negated = period_ == 4 ? drawn >= 2 : options_.negated_share == 1;
  const bool states_gold = claim.is_true != claim.is_negated;
  if (!states_gold) {
    const Draws draws = rng_.at(Stream::kWrongLabels, pass * examples_->size() + row);
    claim.stated_label = wrong_labels_[examples_->sources[row]].draw(examples_->labels[row], draws);
  }
  return claim;
}

Claim ClaimSchedule::at(std::size_t source, std::uint64_t position, std::uint64_t pass) const {
  return make(examples_->source_list[source].rows[orders_[source](position)], position, pass);
}

Claim ClaimSchedule::of(std::size_t row, std::uint64_t pass) const {
  return make(row, orders_[examples_->sources[row]].inverse(examples_->ranks[row]), pass);
}

std::string_view claim_joint(bool is_negated) { return is_negated ? " is not " : " is "; }

std::uint64_t claim_id(std::string_view example_id, bool is_negated, std::string_view stated_label) {
  return Hasher().add(example_id).add(std::uint64_t{is_negated}).add(stated_label).value();
}

BatchTable make_claims(const Examples& examples, const ClaimOptions& options, std::int64_t claims_per_example,
                       std::uint64_t seed) {
  const ClaimSchedule schedule(examples, options, Rng{seed});
  require(claims_per_example >= 1 && static_cast<std::uint64_t>(claims_per_example) <= schedule.period(),
          "claims: the " + std::to_string(examples.size()) + " examples give " +
              std::to_string(examples.size() * schedule.period()) + " different claims, " +
              std::to_string(schedule.period()) +
              " an example; got claims_per_example = " + std::to_string(claims_per_example));
  ClaimTableBuilder builder;
  for (std::size_t row = 0; row < examples.size(); ++row) {
    for (std::int64_t pass = 0; pass < claims_per_example; ++pass) {
      const Claim claim = schedule.of(row, static_cast<std::uint64_t>(pass));
      const Source& source = examples.source_list[examples.sources[row]];
      const std::string& stated = source.labels[claim.stated_label];
      builder.append({.id = claim_id(examples.ids[row], claim.is_negated, stated),
                      .example_id = examples.ids[row],
                      .source = source.name,
                      .kind = "claim",
                      .text = {examples.inputs[row], claim_joint(claim.is_negated), stated},
                      .is_true = claim.is_true,
                      .is_negated = claim.is_negated,
                      .stated_label = stated,
                      .gold_label = source.labels[examples.labels[row]]});
    }
  }
  return builder.finish();
}

}  // namespace syco
