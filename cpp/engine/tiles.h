// Products of bfloat16 numbers with float32 sums: on AMX tiles, on AVX-512 vectors, or in plain loops, all of one
// layout.
//
// Operands lie as tiles of 1 KiB that follow each other in memory, so that a tile is read without a jump. A left tile
// holds 16 rows of 32 features; a right tile 16 pairs of features of 16 columns, the two numbers of a pair side by
// side. Features are padded with zeros to whole tiles.
#pragma once

#include <cstdint>

namespace syco::tiles {

inline constexpr int64_t kRows = 16;      // of a left tile, and columns of a right one
inline constexpr int64_t kFeatures = 32;  // of a tile
inline constexpr int64_t kNumbers = kRows * kFeatures;

inline int64_t whole(int64_t count, int64_t unit) { return (count + unit - 1) / unit; }

// Whether this processor has an instruction for such products; plain loops are slower than float32's.
bool have_instructions();
// Whether these are so fast that three products take no longer than one of float32: on AMX.
bool have_fast_instructions();

// A thread multiplies between begin() and end().
void begin();
void end();

// Numbers that a factor takes: left (rows, features) or right (features, 64).
inline int64_t left_size(int64_t rows, int64_t features) {
  return whole(rows, kRows) * whole(features, kFeatures) * kNumbers;
}
inline int64_t right_size(int64_t features) { return whole(features, kFeatures) * 4 * kNumbers; }

// A factor as bfloat16 numbers; `rest`, where not null, holds the bfloat16 of what rounding left over.
struct Factor {
  uint16_t* main = nullptr;
  uint16_t* rest = nullptr;
};

// The factor from so many numbers on.
inline Factor moved(const Factor& factor, int64_t numbers) {
  return {factor.main + numbers, factor.rest ? factor.rest + numbers : nullptr};
}

// Rounds x (rows, columns) into a left factor whose rows are `row_tiles` tiles wide, from (row, column) on.
void fill_left(const float* x, int64_t x_stride, int64_t rows, int64_t columns, const Factor& left, int64_t row_tiles,
               int64_t row, int64_t column);

// Rounds rows [row, row + rows) of a panel (features, 64) into a right factor; `row` is even. The last rows bring the
// padding with them.
void fill_right(const float* x, int64_t row, int64_t rows, int64_t features, const Factor& right);

// Which tiles of features are summed for a half of the columns: all, or those with the half's bit.
struct Counted {
  int64_t half = 0;
  const uint8_t* halves = nullptr;

  bool operator()(int64_t tile) const { return !halves || (halves[tile] >> half & 1) != 0; }
};

// Columns [32 half, 32 half + 32) of out (rows, 64) = left x right, over `depth` tiles of features; with rests the sum
// of three products, without the one of the two rests. A half stays in the innermost cache while all rows pass by.
void multiply(int64_t rows, int64_t depth, const Factor& left, const Factor& right, const Counted& counted, float* out);

}  // namespace syco::tiles
