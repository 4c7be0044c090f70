#include "core/stats/bulk_draws.h"

#include <cstring>

#include "core/base/clones.h"

namespace syco {
namespace {

// One word of each generator; the operators work lane by lane.
using Lanes = std::uint64_t __attribute__((vector_size(8 * BulkDraws::kLanes)));

SYCO_CLONES void step(BulkDraws::State& state, std::uint64_t* words, std::size_t num_words) {
  Lanes s0, s1, s2, s3;
  std::memcpy(&s0, &state[0], sizeof s0);
  std::memcpy(&s1, &state[1], sizeof s1);
  std::memcpy(&s2, &state[2], sizeof s2);
  std::memcpy(&s3, &state[3], sizeof s3);
  for (std::size_t i = 0; i < num_words; i += BulkDraws::kLanes) {
    const Lanes sum = s0 + s3;
    const Lanes drawn = (sum << 23 | sum >> 41) + s0;
    std::memcpy(words + i, &drawn, sizeof drawn);
    const Lanes shifted = s1 << 17;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= shifted;
    s3 = s3 << 45 | s3 >> 19;
  }
  std::memcpy(&state[0], &s0, sizeof s0);
  std::memcpy(&state[1], &s1, sizeof s1);
  std::memcpy(&state[2], &s2, sizeof s2);
  std::memcpy(&state[3], &s3, sizeof s3);
}

}  // namespace

BulkDraws::BulkDraws(Draws& draws) {
  for (auto& word : state_) {
    for (std::uint64_t& lane : word) lane = draws.next();
  }
}

void BulkDraws::fill(std::span<std::uint64_t> words) { step(state_, words.data(), words.size()); }

}  // namespace syco
