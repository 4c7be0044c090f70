// Two yes/no outcomes of the same units. The table (a, b, c, d): a = both yes, b = only the first, c = only the second,
// d = neither; the difference is (b - c) / n. Units must be independent; for several prompts a claim see clustered.h.
#pragma once

#include <cstdint>

#include "core/stats/estimate.h"

namespace syco::stats {

inline constexpr const char* kTangoMethod = "tango";

struct PairedTable {
  std::int64_t a = 0;
  std::int64_t b = 0;
  std::int64_t c = 0;
  std::int64_t d = 0;
  std::int64_t n() const { return a + b + c + d; }
  bool operator==(const PairedTable&) const = default;
};

// Tango's (1998) score interval: holds its level also for few discordant pairs and none at all. Pairs that differ are
// counted as risen (b) and fallen (c).
Estimate tango(const PairedTable& table, double confidence = 0.95);

// The score that it inverts, of `b` rises and `c` falls among n units where the true change is `delta`. b and c need
// not be whole.
double tango_score(double n, double b, double c, double delta);

// Newcombe's (1998) method 10: Wilson intervals of the two rates, joined with their correlation phi, which is
// continuity-corrected where positive.
Estimate newcombe(const PairedTable& table, double confidence = 0.95);

// Both throw DataError for negative counts; an empty table gives NaN with a reason.

}  // namespace syco::stats
