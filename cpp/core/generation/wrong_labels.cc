#include "core/generation/wrong_labels.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace syco {
namespace {

constexpr double kSumOfWeights = 0x1.0p40;       // whole numbers, so that every machine draws the same
constexpr double kLargestShare = 1 - 0x1.0p-20;  // of the weights, for one label: the others keep some
constexpr int kNumHalvings = 60;

// Shares of the weights. Label j follows gold label i with probability w_j / (1 - w_i), so p_i w_j / (1 - w_i) is the
// share of both together. It is the same the other way round, and the shares of wrong labels are those of gold ones, if
// w_i (1 - w_i) / p_i is the same number c for all labels. `largest`, the share of the most frequent label, gives c,
// and c the other shares, which are the smaller root each; they must add up to 1.
std::vector<double> shares_of_weights(const std::vector<double>& label_shares, std::size_t most_frequent,
                                      double largest) {
  const double c = largest * (1 - largest) / label_shares[most_frequent];
  std::vector<double> weights(label_shares.size());
  std::ranges::transform(label_shares, weights.begin(), [c](double share) {
    return 2 * c * share / (1 + std::sqrt(std::max(0.0, 1 - 4 * c * share)));
  });
  weights[most_frequent] = largest;
  return weights;
}

std::vector<double> balanced_weights(const std::vector<double>& label_shares) {
  const auto most_frequent = static_cast<std::size_t>(std::ranges::max_element(label_shares) - label_shares.begin());
  double low = 0;
  double high = kLargestShare;
  for (int i = 0; i < kNumHalvings; ++i) {
    const double middle = (low + high) / 2;
    const std::vector<double> weights = shares_of_weights(label_shares, most_frequent, middle);
    (std::accumulate(weights.begin(), weights.end(), 0.0) < 1 ? low : high) = middle;
  }
  return shares_of_weights(label_shares, most_frequent, high);
}

}  // namespace

WrongLabels::WrongLabels(std::vector<std::uint64_t> counts) {
  if (std::ranges::count(counts, 0U) + 1 == std::ssize(counts)) {
    for (std::uint64_t& count : counts) ++count;
  }
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
  std::vector<double> label_shares(counts.size());
  std::ranges::transform(counts, label_shares.begin(),
                         [total](std::uint64_t n) { return static_cast<double>(n) / total; });
  const std::vector<double> weights = balanced_weights(label_shares);
  std::uint64_t end = 0;
  for (std::size_t label = 0; label < counts.size(); ++label) {
    const auto weight = static_cast<std::uint64_t>(std::llround(weights[label] * kSumOfWeights));
    end += std::max<std::uint64_t>(weight, counts[label] > 0 ? 1 : 0);
    ends_.push_back(end);
  }
}

std::size_t WrongLabels::draw(std::size_t gold, Draws draws) const {
  if (ends_.size() == 2) return 1 - gold;  // saves the draw, which costs more than all else here
  const std::uint64_t start = gold == 0 ? 0 : ends_[gold - 1];
  const std::uint64_t own = ends_[gold] - start;
  const std::uint64_t drawn = draws.below(ends_.back() - own);
  const auto found = std::ranges::upper_bound(ends_, drawn < start ? drawn : drawn + own);
  return static_cast<std::size_t>(found - ends_.begin());
}

}  // namespace syco
