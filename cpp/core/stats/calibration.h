// How far probabilities are from what happens. `outcome` holds 0 or 1 (or a share), `probability` values in [0, 1].
#pragma once

#include <cstdint>
#include <span>

namespace syco::stats {

// Expected calibration error (Naeini et al. 2015): sum over bins of the bin's share of rows times |mean outcome - mean
// probability|. Bins of equal width are [i/k, (i+1)/k), the last closed; bins of equal mass split the sorted
// probabilities (ties in order of appearance) into k parts whose sizes differ by at most one, the larger first.
double ece_width(std::span<const double> probability, std::span<const double> outcome, std::int64_t num_bins);
double ece_mass(std::span<const double> probability, std::span<const double> outcome, std::int64_t num_bins);

// Mean squared distance between probability and outcome (Brier 1950).
double brier(std::span<const double> probability, std::span<const double> outcome);

// Rows with a non-finite entry are left out; NaN if none is left. Throws DataError for unequal lengths, no bin, or
// probabilities outside [0, 1].

}  // namespace syco::stats
