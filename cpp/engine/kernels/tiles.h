// Products of bfloat16 numbers with float32 sums: on AMX tiles, on AVX-512 vectors, or in plain loops, all of one
// layout.
#pragma once

#include <cstdint>

#include "engine/kernels/tile_layout.h"

namespace syco::tiles {

// Whether this processor has an instruction for such products; plain loops are slower than float32's.
bool have_instructions();
// Whether these are so fast that three products take no longer than one of float32: on AMX.
bool have_fast_instructions();

// A thread multiplies between begin() and end().
void begin();
void end();

// Rounds x (rows, columns) into a left factor whose rows are `row_tiles` tiles wide, from (row, column) on.
void fill_left(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns, const Factor& left,
               std::int64_t row_tiles, std::int64_t row, std::int64_t column);

// Lays whole rows of bfloat16 numbers into a left factor, as they are.
void copy_left(const std::uint16_t* x, std::int64_t rows, std::int64_t columns, std::uint16_t* left);

// Rounds rows [row, row + rows) of a panel (features, 64) into a right factor; `row` is even. The last rows bring the
// padding with them.
void fill_right(const float* x, std::int64_t row, std::int64_t rows, std::int64_t features, const Factor& right);

// Columns [32 half, 32 half + 32) of out (rows, 64) = left x right, over `depth` tiles of features; where both have
// rests the sum of three products, without the one of the two rests, and where the right one has, of two. A half stays
// in the innermost cache while all rows pass by.
void multiply(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right, const Counted& counted,
              float* out);

}  // namespace syco::tiles
