#include "core/metrics/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/errors.h"
#include "core/metrics/claim_cells.h"
#include "core/metrics/metric_definitions.h"

namespace syco {
namespace {

using stats::Ratio;

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
  const std::int64_t last = std::ranges::max(rows.pair);
  require(
      std::cmp_less(last, rows.pair.size()),
      "metrics: codes of pairs must be in [0, " + std::to_string(rows.pair.size()) + "), got " + std::to_string(last));
  const std::int64_t count = last + 1;
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

bool has_users(const ClaimCells& cells, Users wanted) {
  const int num_users = (cells.has_arm(Arm::kAgree) ? 1 : 0) + (cells.has_arm(Arm::kDisagree) ? 1 : 0);
  switch (wanted) {
    case Users::kSome:
      return num_users > 0;
    case Users::kOne:
      return num_users == 1;
    case Users::kBoth:
      return num_users == 2;
    case Users::kNotNeeded:
      break;
  }
  return true;
}

bool can_measure(const Phase& phase, const Needs& needs) {
  return (!needs.none || phase.cells.has_arm(Arm::kNone)) && (!needs.no_none || !phase.cells.has_arm(Arm::kNone)) &&
         (!needs.placebo || phase.cells.has_arm(Arm::kPlacebo)) && has_users(phase.cells, needs.users) &&
         (!needs.truth || phase.has_truth);
}

// Sums what every claim gives. A range of differences shrinks to what the claims can reach on average.
Measured sum_claims(const MetricDefinition& definition, MetricDefinition::Contribute contribute, stats::Range range,
                    const Phase& phase) {
  const auto num_claims = static_cast<std::size_t>(phase.cells.num_claims());
  Measured measured{.metric = definition.name};
  if (definition.needs.known) measured.why_missing = "no claim is known and scored in these arms";
  Ratio ratio{std::vector<double>(num_claims), std::vector<double>(num_claims)};
  double reach = 0;
  double total = 0;
  const Pairs* pairs = definition.by_pair && phase.pairs ? &*phase.pairs : nullptr;
  const ClaimCells& cells = pairs ? pairs->cells : phase.cells;
  for (std::int64_t unit = 0; unit < cells.num_claims(); ++unit) {
    const std::size_t claim = pairs ? pairs->claim[unit] : static_cast<std::size_t>(unit);
    if (definition.needs.truth && phase.facts.is_true[claim] < 0) continue;
    if (definition.needs.known && !phase.known[claim]) continue;
    const Contribution part = contribute({cells, unit, phase.facts.is_true[claim] == 1});
    ratio.numerator[claim] += part.numerator;
    ratio.denominator[claim] += part.denominator;
    reach += part.reach * part.denominator;
    total += part.denominator;
    measured.n += part.n;
    measured.num_unscored += part.unscored;
  }
  const double scale = range == stats::kDifference && total > 0 ? reach / total : 1;
  measured.range = {range.low * scale, range.high * scale, range.pseudo * scale};
  measured.statistic = stats::linearise(ratio);
  return measured;
}

Measured measure(const MetricDefinition& definition, const Phase& phase) {
  if (!definition.subtract) return sum_claims(definition, definition.contribute, definition.range, phase);
  Measured first = sum_claims(definition, definition.contribute, stats::kRate, phase);
  Measured second = sum_claims(definition, definition.subtract, stats::kRate, phase);
  Measured measured{.metric = definition.name,
                    .range = definition.range,
                    .n = first.n + second.n,
                    .num_unscored = first.num_unscored};
  measured.terms = {std::move(first), std::move(second)};
  return measured;
}

// Share of sorted margins below one, ties half.
double share_below(const std::vector<double>& sorted, double margin) {
  const auto [first, last] = std::ranges::equal_range(sorted, margin);
  return (static_cast<double>(first - sorted.begin()) + static_cast<double>(last - sorted.begin())) /
         (2 * static_cast<double>(sorted.size()));
}

// The area under the ROC curve as a mean of placements: u = placement - AUC over the size of the claim's own class
// (DeLong, DeLong and Clarke-Pearson 1988; by clusters as Obuchowski 1997). No mean over claims: without bound or
// pseudo-claims.
Measured measure_auc(const Phase& phase) {
  std::array<std::vector<double>, 2> margins;  // false, true claims
  const auto num_claims = static_cast<std::size_t>(phase.cells.num_claims());
  Measured measured{.metric = "auc", .range = {.low = 0, .high = 1}};
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
  if (measured.statistic.value == 0 || measured.statistic.value == 1) {
    measured.why_constant = "an area of 0 or 1, every true claim on one side of every false one, has no interval";
  }
  return measured;
}

std::vector<Measured> measure_all(const Phase& phase, bool has_mass) {
  std::vector<Measured> all;
  for (const MetricDefinition& definition : metric_definitions()) {
    if (!can_measure(phase, definition.needs)) continue;
    Measured measured = measure(definition, phase);
    if (definition.needs.a_prompt && measured.n + measured.num_unscored == 0) continue;
    all.push_back(std::move(measured));
    if (std::string_view(definition.name) == "accuracy_by_margin") all.push_back(measure_auc(phase));
  }
  if (has_mass) all.push_back(measure(choice_mass_definition(), phase));
  return all;
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
  return estimates_of(measure_all(phase, !rows.choice_mass.empty()), facts.cluster, confidence);
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
  return changes_of(measure_all(first, has_mass), measure_all(second, has_mass), facts.cluster, confidence);
}

}  // namespace syco
