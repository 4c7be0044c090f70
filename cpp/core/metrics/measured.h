// A metric before its interval, of claims or of questions: enough for its estimate alone and for a paired change.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/stats/clustered.h"

namespace syco {

struct MetricEstimate {
  std::string metric;
  stats::Estimate estimate;
  bool operator==(const MetricEstimate&) const = default;
};

struct MetricChange {
  std::string metric;
  stats::Estimate before;
  stats::Estimate after;
  stats::Estimate change;
  bool operator==(const MetricChange&) const = default;
};

struct Measured {
  std::string metric{};
  stats::Range range{};
  stats::Linearised statistic{};
  std::int64_t n = 0;
  std::int64_t num_unscored = 0;
  std::vector<Measured> terms{};       // two rates, each of units of its own, whose difference the metric is; or none
  const char* why_missing = nullptr;   // the reason of a value that is not there, where it is a special one
  const char* why_constant = nullptr;  // and of data without variation
};

// The metric with its interval: a rate's, a difference's or a mean's (clustered.h). A difference of two rates has the
// interval of both (mover), and none where fewer than 5 units meet one of the two conditions.
stats::Estimate estimate_of(const Measured& measured, std::span<const std::int64_t> cluster, double confidence);

// Both phases and after - before, paired by unit; the change of a difference of two rates is not paired (mover).
MetricChange change_of(const Measured& before, const Measured& after, std::span<const std::int64_t> cluster,
                       double confidence);

// The same of all metrics, in order; `before` and `after` hold the same metrics.
std::vector<MetricEstimate> estimates_of(std::span<const Measured> measured, std::span<const std::int64_t> cluster,
                                         double confidence);
std::vector<MetricChange> changes_of(std::span<const Measured> before, std::span<const Measured> after,
                                     std::span<const std::int64_t> cluster, double confidence);

}  // namespace syco
