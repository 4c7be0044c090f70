#include "core/stats/calibration.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/base/errors.h"
#include "core/stats/estimate.h"

namespace syco::stats {
namespace {

struct Row {
  double probability;
  double outcome;
};

std::vector<Row> finite_rows(std::span<const double> probability, std::span<const double> outcome) {
  require(probability.size() == outcome.size(), "calibration: wanted one outcome a probability, got " +
                                                    std::to_string(outcome.size()) + " and " +
                                                    std::to_string(probability.size()));
  std::vector<Row> rows;
  for (std::size_t i = 0; i < probability.size(); ++i) {
    if (!std::isfinite(probability[i]) || !std::isfinite(outcome[i])) continue;
    require(probability[i] >= 0 && probability[i] <= 1,
            "calibration: probabilities must lie in [0, 1], got " + std::to_string(probability[i]));
    rows.push_back({probability[i], outcome[i]});
  }
  return rows;
}

// |sum of outcome - probability|: the bin's gap times its number of rows.
double gap(std::span<const Row> bin) {
  double sum = 0;
  for (const Row& row : bin) sum += row.outcome - row.probability;
  return std::abs(sum);
}

void require_bins(std::int64_t num_bins) {
  require(num_bins > 0, "calibration: num_bins must be > 0, got " + std::to_string(num_bins));
}

}  // namespace

double ece_width(std::span<const double> probability, std::span<const double> outcome, std::int64_t num_bins) {
  require_bins(num_bins);
  const std::vector<Row> rows = finite_rows(probability, outcome);
  std::vector<std::vector<Row>> bins(static_cast<std::size_t>(num_bins));
  for (const Row& row : rows) {
    const auto bin = static_cast<std::int64_t>(row.probability * static_cast<double>(num_bins));
    bins[static_cast<std::size_t>(std::min(bin, num_bins - 1))].push_back(row);
  }
  double sum = 0;
  for (const auto& bin : bins) sum += gap(bin);
  return rows.empty() ? kNan : sum / static_cast<double>(rows.size());
}

double ece_mass(std::span<const double> probability, std::span<const double> outcome, std::int64_t num_bins) {
  require_bins(num_bins);
  std::vector<Row> rows = finite_rows(probability, outcome);
  std::ranges::stable_sort(rows, {}, &Row::probability);
  const auto num_parts = static_cast<std::size_t>(num_bins);
  double sum = 0;
  std::size_t start = 0;
  for (std::size_t part = 0; part < num_parts; ++part) {
    const std::size_t size = rows.size() / num_parts + (part < rows.size() % num_parts ? 1 : 0);
    sum += gap(std::span(rows).subspan(start, size));
    start += size;
  }
  return rows.empty() ? kNan : sum / static_cast<double>(rows.size());
}

double brier(std::span<const double> probability, std::span<const double> outcome) {
  const std::vector<Row> rows = finite_rows(probability, outcome);
  double sum = 0;
  for (const Row& row : rows) sum += (row.outcome - row.probability) * (row.outcome - row.probability);
  return rows.empty() ? kNan : sum / static_cast<double>(rows.size());
}

}  // namespace syco::stats
