// Many uniform indices below one bound from few random words: the inner loop of the bootstrap.
#pragma once

#include <array>
#include <cstdint>

#include "core/rng.h"
#include "core/wide_multiply.h"

namespace syco::stats {

// How many indices below `bound` a 64-bit word gives: as many as keep bound^k below 2^61, 1 to 5.
inline int indices_per_word(std::uint64_t bound) {
  int count = 1;
  for (std::uint64_t product = bound; count < 5 && product < (std::uint64_t{1} << 61) / bound; product *= bound)
    ++count;
  return count;
}

// Exactly uniform indices in [0, bound), `batch` from each 64-bit word (Brackett-Rozinsky and Lemire 2024, "Batched
// ranged random integer generation"): the word is a fraction whose digits in base `bound` are read by multiplication,
// and it is refused if what remains falls below 2^64 mod bound^batch. Calls use(lane, index) `count` times, lane in [0,
// batch), drawing from the block sequence of (key, item).
template <int batch, typename Use>
void draw_indices(std::uint64_t bound, std::int64_t count, std::array<std::uint64_t, 2> key, std::uint64_t item,
                  Use use) {
  std::uint64_t product = 1;
  for (int i = 0; i < batch; ++i) product *= bound;
  const std::uint64_t threshold = -product % product;
  for (std::uint64_t block_number = 1; count > 0; ++block_number) {
    const std::array<std::uint64_t, 4> block = philox4x64({block_number, item, 0, 0}, key);
    for (std::uint64_t rest : block) {
      std::array<std::uint64_t, batch> index;
      for (std::uint64_t& digit : index) {
        const WideProduct scaled = wide_multiply(rest, bound);
        digit = scaled.high;
        rest = scaled.low;
      }
      if (rest < threshold) [[unlikely]]
        continue;
      if (count < batch) [[unlikely]] {
        for (int lane = 0; lane < count; ++lane) use(lane, index[lane]);
        return;
      }
      for (int lane = 0; lane < batch; ++lane) use(lane, index[lane]);
      count -= batch;
    }
  }
}

}  // namespace syco::stats
