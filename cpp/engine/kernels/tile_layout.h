// How the operands of products of bfloat16 numbers lie in memory.
//
// Operands lie as tiles of 1 KiB that follow each other in memory, so that a tile is read without a jump. A left tile
// holds 16 rows of 32 features; a right tile 16 pairs of features of 16 columns, the two numbers of a pair side by
// side. Features are padded with zeros to whole tiles.
#pragma once

#include <cstdint>

namespace syco::tiles {

inline constexpr std::int64_t kRows = 16;      // of a left tile, and columns of a right one
inline constexpr std::int64_t kFeatures = 32;  // of a tile
inline constexpr std::int64_t kNumbers = kRows * kFeatures;

inline std::int64_t whole(std::int64_t count, std::int64_t unit) { return (count + unit - 1) / unit; }

// Numbers that a factor takes: left (rows, features) or right (features, 64).
inline std::int64_t left_size(std::int64_t rows, std::int64_t features) {
  return whole(rows, kRows) * whole(features, kFeatures) * kNumbers;
}
inline std::int64_t right_size(std::int64_t features) { return whole(features, kFeatures) * 4 * kNumbers; }

// A factor as bfloat16 numbers; `rest`, where not null, holds the bfloat16 of what rounding left over.
struct Factor {
  std::uint16_t* main = nullptr;
  std::uint16_t* rest = nullptr;
};

// The factor from so many numbers on.
inline Factor moved(const Factor& factor, std::int64_t numbers) {
  return {factor.main + numbers, factor.rest ? factor.rest + numbers : nullptr};
}

// Which tiles of features are summed for a half of the columns: all, or those with the half's bit.
struct Counted {
  std::int64_t half = 0;
  const std::uint8_t* halves = nullptr;

  bool operator()(std::int64_t tile) const { return !halves || (halves[tile] >> half & 1) != 0; }
};

}  // namespace syco::tiles
