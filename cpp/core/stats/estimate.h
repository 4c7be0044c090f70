// An estimate: a number with everything a reader needs to judge it.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace syco::stats {

inline constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Estimate {
  double value = kNan;
  double low = kNan;  // NaN where no honest interval exists; then `reason` says why
  double high = kNan;
  double standard_error = kNan;  // NaN for methods that have none; with pseudo-claims (clustered.h), that of their mean
  double confidence = 0.95;
  std::string method{};           // such as "cluster-t (CR1)", "wilson"
  std::int64_t n = 0;             // rows (prompts) that entered
  std::int64_t num_clusters = 0;  // independent units (claims) that entered; where there are several conditions, those
                                  // of the rarest
  std::int64_t num_unscored = 0;  // rows left out because they hold no finite number
  std::int64_t num_rose = 0;      // of a difference or a change: the clusters that lie above zero
  std::int64_t num_fell = 0;      // and below
  double pseudo = 0;              // size of the pseudo-claims in the standard error (clustered.h); 0: none
  std::string reason{};           // empty where the interval is there
  bool operator==(const Estimate&) const = default;
};

// Throws DataError unless 0 < confidence < 1.
void require_confidence(double confidence, const char* who);

}  // namespace syco::stats
