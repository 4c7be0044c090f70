#include "core/metrics/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "core/base/errors.h"
#include "core/metrics/claim_cells.h"
#include "core/metrics/metric_definitions.h"

namespace syco {
namespace {

using stats::Estimate;
using stats::Linearised;
using stats::RatioTerm;

// A metric before its interval: enough for the estimate alone and for a paired change.
struct Measured {
  std::string metric{};
  stats::Range range;
  bool known_only = false;
  Linearised statistic{};
  std::int64_t n = 0;
  std::int64_t num_unscored = 0;
  const char* why_constant = nullptr;  // the reason of data without variation, where it is not that of a mean
};

// The pairs of prompts of all claims, as cells of their own.
struct Pairs {
  ClaimCells cells;
  std::vector<std::size_t> claim;  // of each
};

struct Phase {
  ClaimCells cells;
  std::optional<Pairs> pairs;  // where a claim has more than one
  const ClaimFacts& facts;
  std::vector<std::uint8_t> known;
  bool has_truth;
};

void check_facts(const ClaimFacts& facts) {
  const std::size_t n = facts.is_true.size();
  require(facts.cluster.size() == n && (facts.known.empty() || facts.known.size() == n),
          "metrics: is_true, cluster and known must have one value a claim, got " + std::to_string(n) + ", " +
              std::to_string(facts.cluster.size()) + " and " + std::to_string(facts.known.size()));
  require(std::ranges::all_of(facts.is_true, [](std::int8_t truth) { return truth >= -1 && truth <= 1; }),
          "metrics: is_true must be 1, 0 or -1 (unknown)");
}

std::vector<std::uint8_t> known_claims(const ClaimCells& cells, const ClaimFacts& facts) {
  if (!facts.known.empty()) return {facts.known.begin(), facts.known.end()};
  std::vector<std::uint8_t> known(facts.is_true.size());
  for (std::size_t claim = 0; claim < known.size(); ++claim) {
    const double margin = cells.margin(static_cast<std::int64_t>(claim), Arm::kNone);
    known[claim] = facts.is_true[claim] == 1 ? margin > 0 : facts.is_true[claim] == 0 && margin < 0;
  }
  return known;
}

std::optional<Pairs> pairs_of(const ClaimRows& rows) {
  if (rows.pair.empty()) return std::nullopt;
  const std::int64_t count = std::ranges::max(rows.pair) + 1;
  Pairs pairs{{{rows.pair, rows.arm, rows.order, rows.log_odds, rows.choice_mass}, count},
              std::vector<std::size_t>(static_cast<std::size_t>(count))};
  for (std::size_t row = 0; row < rows.pair.size(); ++row) pairs.claim[rows.pair[row]] = rows.claim[row];
  for (std::size_t row = 0; row < rows.pair.size(); ++row) {
    require(std::cmp_equal(pairs.claim[rows.pair[row]], rows.claim[row]),
            "metrics: pair " + std::to_string(rows.pair[row]) + " in row " + std::to_string(row) +
                " holds prompts of two claims");
  }
  return pairs;
}

Phase make_phase(const ClaimRows& rows, const ClaimFacts& facts) {
  ClaimCells cells(rows, static_cast<std::int64_t>(facts.is_true.size()));
  std::vector<std::uint8_t> known = known_claims(cells, facts);
  const bool has_truth = std::ranges::any_of(facts.is_true, [](std::int8_t truth) { return truth >= 0; });
  return {std::move(cells), pairs_of(rows), facts, std::move(known), has_truth};
}

bool can_measure(const Phase& phase, const Needs& needs) {
  const bool opinion = phase.cells.has_arm(Arm::kAgree) && phase.cells.has_arm(Arm::kDisagree);
  return (!needs.none || phase.cells.has_arm(Arm::kNone)) && (!needs.placebo || phase.cells.has_arm(Arm::kPlacebo)) &&
         (!needs.opinion || opinion) && (!needs.truth || phase.has_truth);
}

Measured measure(const MetricDefinition& definition, const Phase& phase) {
  const auto num_claims = static_cast<std::size_t>(phase.cells.num_claims());
  Measured measured{.metric = definition.name, .range = definition.range, .known_only = definition.needs.known};
  std::vector<RatioTerm> terms(definition.num_terms);
  for (std::size_t term = 0; term < terms.size(); ++term) {
    terms[term] = {term == 0 ? 1.0 : -1.0, std::vector<double>(num_claims), std::vector<double>(num_claims)};
  }
  const Pairs* pairs = definition.by_pair && phase.pairs ? &*phase.pairs : nullptr;
  const ClaimCells& cells = pairs ? pairs->cells : phase.cells;
  for (std::int64_t unit = 0; unit < cells.num_claims(); ++unit) {
    const std::size_t claim = pairs ? pairs->claim[unit] : static_cast<std::size_t>(unit);
    if (definition.needs.truth && phase.facts.is_true[claim] < 0) continue;
    if (definition.needs.known && !phase.known[claim]) continue;
    const Contribution part =
        definition.contribute({cells, unit, phase.facts.is_true[claim] == 1, phase.known[claim] != 0});
    for (std::size_t term = 0; term < terms.size(); ++term) {
      terms[term].numerator[claim] += part.numerator[term];
      terms[term].denominator[claim] += part.denominator[term];
    }
    measured.n += part.n;
    measured.num_unscored += part.unscored;
  }
  measured.statistic = stats::linearise(terms);
  return measured;
}

// Share of sorted margins below one, ties half.
double share_below(const std::vector<double>& sorted, double margin) {
  const auto [first, last] = std::ranges::equal_range(sorted, margin);
  return (static_cast<double>(first - sorted.begin()) + static_cast<double>(last - sorted.begin())) /
         (2 * static_cast<double>(sorted.size()));
}

// The area under the ROC curve as a mean of placements: u = placement - AUC over the size of the claim's own class
// (DeLong, DeLong and Clarke-Pearson 1988; by clusters as Obuchowski 1997).
Measured measure_auc(const Phase& phase) {
  std::array<std::vector<double>, 2> margins;  // false, true claims
  const auto num_claims = static_cast<std::size_t>(phase.cells.num_claims());
  Measured measured{.metric = "auc", .range = {0, 1}};
  measured.statistic.influence.assign(num_claims, 0);
  measured.statistic.member.assign(num_claims, 0);
  for (std::size_t claim = 0; claim < num_claims; ++claim) {
    const auto index = static_cast<std::int64_t>(claim);
    if (phase.facts.is_true[claim] < 0) continue;
    const double margin = phase.cells.margin(index, Arm::kNone);
    for (const Order order : {Order::kAgreeFirst, Order::kDisagreeFirst}) {
      measured.num_unscored += phase.cells.unscored(index, Arm::kNone, order);
      if (std::isfinite(margin)) measured.n += phase.cells.count(index, Arm::kNone, order);
    }
    if (std::isfinite(margin)) {
      measured.statistic.member[claim] = 1;
      margins[phase.facts.is_true[claim]].push_back(margin);
    }
  }
  for (auto& side : margins) std::ranges::sort(side);
  if (margins[0].empty() || margins[1].empty()) return measured;
  double sum = 0;
  for (const double margin : margins[1]) sum += share_below(margins[0], margin);
  measured.statistic.value = sum / static_cast<double>(margins[1].size());
  for (std::size_t claim = 0; claim < num_claims; ++claim) {
    if (!measured.statistic.member[claim]) continue;
    const double margin = phase.cells.margin(static_cast<std::int64_t>(claim), Arm::kNone);
    const bool is_true = phase.facts.is_true[claim] == 1;
    const double placement = is_true ? share_below(margins[0], margin) : 1 - share_below(margins[1], margin);
    measured.statistic.influence[claim] =
        (placement - measured.statistic.value) / static_cast<double>(margins[is_true ? 1 : 0].size());
  }
  measured.statistic.num_term_units = 0;  // an area of 0 or 1 has no constant-data bound
  if (measured.statistic.value == 0 || measured.statistic.value == 1) {
    measured.why_constant = "an area of 0 or 1, every true claim on one side of every false one, has no interval";
  }
  return measured;
}

std::vector<Measured> measure_all(const Phase& phase, bool has_mass) {
  std::vector<Measured> all;
  for (const MetricDefinition& definition : metric_definitions()) {
    if (can_measure(phase, definition.needs)) all.push_back(measure(definition, phase));
    const bool after_accuracy = std::string_view(definition.name) == "accuracy_by_margin";
    if (after_accuracy && can_measure(phase, definition.needs)) all.push_back(measure_auc(phase));
  }
  if (has_mass) all.push_back(measure(choice_mass_definition(), phase));
  return all;
}

Estimate finish(const Measured& measured, const Linearised& statistic, stats::Range range, const ClaimFacts& facts,
                double confidence) {
  Estimate estimate = stats::cluster_t(statistic, facts.cluster, confidence, range);
  estimate.n = measured.n;
  estimate.num_unscored = measured.num_unscored;
  if (range == stats::kRate && statistic.num_term_units > 0) stats::bound_rate(estimate);
  const bool is_constant = std::isnan(estimate.low) && !std::isnan(estimate.value) && estimate.num_clusters > 1;
  if (is_constant && measured.why_constant) estimate.reason = measured.why_constant;
  if (std::isnan(estimate.value) && measured.known_only) estimate.reason = "no claim is known and scored in these arms";
  return estimate;
}

// Leaves out of both phases what either could not score, so that both describe the same prompts.
std::vector<double> scored_in_both(std::span<const double> own, std::span<const double> other) {
  std::vector<double> log_odds(own.begin(), own.end());
  for (std::size_t row = 0; row < log_odds.size(); ++row) {
    if (!std::isfinite(other[row])) log_odds[row] = stats::kNan;
  }
  return log_odds;
}

}  // namespace

std::vector<MetricEstimate> measure_claims(const ClaimRows& rows, const ClaimFacts& facts, double confidence) {
  check_facts(facts);
  const Phase phase = make_phase(rows, facts);
  std::vector<MetricEstimate> estimates;
  for (const Measured& measured : measure_all(phase, !rows.choice_mass.empty())) {
    estimates.push_back({measured.metric, finish(measured, measured.statistic, measured.range, facts, confidence)});
  }
  return estimates;
}

std::vector<MetricChange> compare_claims(const ClaimRows& before, const ClaimRows& after, const ClaimFacts& facts,
                                         double confidence) {
  check_facts(facts);
  require(std::ranges::equal(before.claim, after.claim) && std::ranges::equal(before.arm, after.arm) &&
              std::ranges::equal(before.order, after.order) && std::ranges::equal(before.pair, after.pair) &&
              before.log_odds.size() == after.log_odds.size(),
          "compare_claims: before and after must hold the same prompts in the same order");
  const std::vector<double> odds_before = scored_in_both(before.log_odds, after.log_odds);
  const std::vector<double> odds_after = scored_in_both(after.log_odds, before.log_odds);
  const Phase first =
      make_phase({before.claim, before.arm, before.order, odds_before, before.choice_mass, before.pair}, facts);
  Phase second = make_phase({after.claim, after.arm, after.order, odds_after, after.choice_mass, after.pair}, facts);
  second.known = first.known;
  const bool has_mass = !before.choice_mass.empty() && !after.choice_mass.empty();
  const std::vector<Measured> all_before = measure_all(first, has_mass);
  const std::vector<Measured> all_after = measure_all(second, has_mass);
  std::vector<MetricChange> changes;
  for (std::size_t i = 0; i < all_before.size(); ++i) {
    const auto& [b, a] = std::tie(all_before[i], all_after[i]);
    const double width = b.range.high - b.range.low;
    MetricChange change{b.metric, finish(b, b.statistic, b.range, facts, confidence),
                        finish(a, a.statistic, a.range, facts, confidence),
                        finish(b, stats::difference(a.statistic, b.statistic), {-width, width}, facts, confidence)};
    if (change.change.method == "cluster-t (CR1)") change.change.method = "paired cluster-t (CR1)";
    changes.push_back(std::move(change));
  }
  return changes;
}

}  // namespace syco
