#include "engine/kernels/tiles_plain.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/base/clones.h"
#include "engine/kernels/kernels.h"

namespace syco::tiles::plain {
namespace {

// A row of a right tile: pairs of features, the first in the lower half, and what either half holds.
using Pairs [[gnu::vector_size(64)]] = std::uint32_t;
using Floats [[gnu::vector_size(64)]] = float;

static_assert(std::endian::native == std::endian::little, "pairs are read as integers");

constexpr std::int64_t kTogether = 4;  // rows of a product
constexpr std::int64_t kRightTile =
    kColumns / kRows * kNumbers;  // from the tiles of some features to those of the next

SYCO_INLINE inline float widened(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

// To the nearest; of two as near, the one whose last bit is 0.
SYCO_INLINE inline std::uint16_t rounded(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t up = 0x7FFF + (bits >> 16 & 1);
  return static_cast<std::uint16_t>(x == x ? (bits + up) >> 16 : 0x7FC0);
}

SYCO_CLONES void round_segment(const float* x, std::int64_t count, const Factor& to) {
  for (std::int64_t j = 0; j < count; ++j) to.main[j] = rounded(x[j]);
  if (!to.rest) return;
  for (std::int64_t j = 0; j < count; ++j) to.rest[j] = rounded(x[j] - widened(to.main[j]));
}

// sums += a x b for kTogether rows and 16 columns, over `depth` tiles of features.
SYCO_INLINE inline void add_product(std::int64_t depth, const std::uint16_t* a, const std::uint16_t* b,
                                    const Counted& counted, Floats* sums) {
  Floats sum[kTogether];
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < kTogether; ++i) sum[i] = sums[i];
  for (std::int64_t k = 0; k < depth; ++k) {
    if (!counted(k)) continue;
    for (std::int64_t pair = 0; pair < kFeatures / 2; ++pair) {
      Pairs pairs;
      std::memcpy(&pairs, b + k * kRightTile + pair * kFeatures, sizeof pairs);
      const Pairs first = pairs << 16, second = pairs & 0xFFFF0000;
#pragma GCC unroll 4
      for (std::int64_t i = 0; i < kTogether; ++i) {
        const std::uint16_t* factors = a + k * kNumbers + i * kFeatures + 2 * pair;
        sum[i] += widened(factors[0]) * reinterpret_cast<Floats>(first);
        sum[i] += widened(factors[1]) * reinterpret_cast<Floats>(second);
      }
    }
  }
#pragma GCC unroll 4
  for (std::int64_t i = 0; i < kTogether; ++i) sums[i] = sum[i];
}

SYCO_CLONES void multiply_together(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right,
                                   const Counted& counted, float* out) {
  Floats sums[kTogether] = {};
  if (left.rest) add_product(depth, left.rest, right.main, counted, sums);
  if (right.rest) add_product(depth, left.main, right.rest, counted, sums);
  add_product(depth, left.main, right.main, counted, sums);
  for (std::int64_t i = 0; i < std::min(rows, kTogether); ++i)
    std::memcpy(out + i * kColumns, &sums[i], sizeof sums[i]);
}

}  // namespace

void fill_left(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns, const Factor& left,
               std::int64_t row_tiles, std::int64_t row, std::int64_t column) {
  for (std::int64_t i = row; i < row + rows; ++i, x += x_stride) {
    const std::int64_t start = i / kRows * row_tiles * kNumbers + i % kRows * kFeatures;
    for (std::int64_t j = column; j < column + columns;) {
      const std::int64_t count = std::min(kFeatures - j % kFeatures, column + columns - j);
      round_segment(x + (j - column), count, moved(left, start + j / kFeatures * kNumbers + j % kFeatures));
      j += count;
    }
  }
}

SYCO_CLONES void fill_right(const float* x, std::int64_t row, std::int64_t rows, std::int64_t features,
                            const Factor& right) {
  const std::int64_t end = row + rows, filled = end < features ? end : whole(features, kFeatures) * kFeatures;
  for (std::int64_t i = row; i < filled; ++i, x += kColumns) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      const float value = i < end ? x[c] : 0.0F;
      const std::int64_t at =
          i / kFeatures * kRightTile + c / kRows * kNumbers + i % kFeatures / 2 * kFeatures + c % kRows * 2 + i % 2;
      right.main[at] = rounded(value);
      if (right.rest) right.rest[at] = rounded(value - widened(right.main[at]));
    }
  }
}

void multiply(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right, const Counted& counted,
              float* out) {
  const std::int64_t first = counted.half * kHalf;
  for (std::int64_t n = first; n < first + kHalf; n += kRows) {
    for (std::int64_t m = 0; m < rows; m += kTogether) {
      const std::int64_t at = m / kRows * depth * kNumbers + m % kRows * kFeatures;
      multiply_together(rows - m, depth, moved(left, at), moved(right, n / kRows * kNumbers), counted,
                        out + m * kColumns + n);
    }
  }
}

}  // namespace syco::tiles::plain
