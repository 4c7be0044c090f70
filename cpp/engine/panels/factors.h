// The weights of one layer as left factors of products.
#pragma once

#include <span>
#include <vector>

#include "engine/model/weights.h"

namespace syco {

using Matrices = std::vector<const Matrix*>;  // those that a model has; none is null

Matrices matrices_of(const LayerWeights& layer);

// Factors of one layer at a time, made by all threads together and used by all: a weight is read from memory and
// rounded once for all panels of a chunk.
class Factors {
 public:
  Factors() = default;
  // Makes room for any of `layers`.
  Factors(MatmulPrecision precision, std::span<const Matrices> layers);

  // Makes the factors of a layer, in place of those before: on the caller's memory where they need no change.
  void prepare(const Matrices& layer);

  // Blocks of a matrix of that layer.
  std::span<const Block> of(const Matrix& matrix) const;

 private:
  MatmulPrecision precision_ = MatmulPrecision::kHighest;
  at::Tensor memory_;  // of one layer's factors
  at::Tensor turned_;  // (threads, floats): a block on its way
  Matrices matrices_;
  std::vector<std::vector<Block>> blocks_;  // of each of `matrices_`
};

}  // namespace syco
