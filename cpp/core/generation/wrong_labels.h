// Which wrong label a claim states, drawn so that each label is stated wrongly as often as it is right.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/rng.h"

namespace syco {

// Were wrong labels drawn uniformly, a rare label would be stated mostly where it is wrong, and the label alone would
// give the answer away. Here each label has a weight, and a wrong label is drawn from the others in proportion to their
// weights; these are such that the labels stated wrongly have the shares of the gold labels.
//
// That cannot be where one label has more than half of the examples: it is then stated wherever another one is right.
// Labels that never occur are never stated, unless only one occurs.
class WrongLabels {
 public:
  // `counts`: by label, of how many examples it is the gold one. At least two labels and one example.
  explicit WrongLabels(std::vector<std::uint64_t> counts);

  // A label other than `gold`.
  std::size_t draw(std::size_t gold, Draws draws) const;

 private:
  std::vector<std::uint64_t> ends_;  // by label: sum of the weights up to and with its own
};

}  // namespace syco
