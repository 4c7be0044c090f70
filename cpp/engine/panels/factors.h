// The weights of one layer as left factors of products.
#pragma once

#include <span>
#include <vector>

#include "core/base/threads.h"
#include "engine/kernels/workspace.h"
#include "engine/model/weights.h"

namespace syco {

using Matrices = std::vector<const Matrix*>;  // those that a model has; none is null

Matrices matrices_of(const LayerWeights& layer);

// Factors of one layer at a time, made by all threads together and used by all: a weight is read from memory and
// rounded once for all panels of a chunk. But those that are quickly made (is_widened) every thread makes for itself.
class Factors {
 public:
  Factors() = default;
  // Makes room for any of `layers`.
  Factors(const Team& team, MatmulPrecision precision, std::span<const Matrices> layers);

  // Makes the factors of a layer, in place of those before: on the caller's memory where they need no change.
  void prepare(const Matrices& layer);

  // A block of a matrix of that layer; one that each thread makes for itself in `memory`, of factor_size floats.
  Block of(const Matrix& matrix, std::int64_t block, float* memory) const;

 private:
  const Team* team_ = nullptr;
  MatmulPrecision precision_ = MatmulPrecision::kHighest;
  Workspace memory_;  // of one layer's factors
  Workspace turned_;  // (threads, floats): a block on its way
  Matrices matrices_;
  std::vector<std::vector<Block>> blocks_;  // of each of `matrices_`
};

}  // namespace syco
