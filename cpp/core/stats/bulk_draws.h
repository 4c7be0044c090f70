// Random words in bulk, several times as fast as Philox: four xoshiro256++ generators side by side (Blackman and Vigna
// 2021, "Scrambled linear pseudorandom number generators"), which a processor with vector units steps together.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/base/rng.h"

namespace syco {

class BulkDraws {
 public:
  static constexpr std::size_t kLanes = 4;
  using State = std::array<std::array<std::uint64_t, kLanes>, 4>;  // word by word, of each generator

  explicit BulkDraws(const State& state) : state_(state) {}
  // The state is drawn from `draws`, in the order of State; so a key of Philox keys all that follows.
  explicit BulkDraws(Draws& draws);

  // The next words, one generator after the other. Their number must be a multiple of kLanes.
  void fill(std::span<std::uint64_t> words);

 private:
  State state_ = {};
};

}  // namespace syco
