// The products of tiles.h by instructions of x86-64: AMX on tiles, else AVX-512 BF16 on vectors.
#pragma once

#include <cstdint>

#include "engine/kernels/tile_layout.h"

namespace syco::tiles::x86 {

// Whether this processor has either; without, the functions below must not be called.
bool are_available();
// Whether it has AMX.
bool have_tiles();

void begin();
void end();
void fill_left(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns, const Factor& left,
               std::int64_t row_tiles, std::int64_t row, std::int64_t column);
void fill_right(const float* x, std::int64_t row, std::int64_t rows, std::int64_t features, const Factor& right);
void multiply(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right, const Counted& counted,
              float* out);

// The same on vectors, whatever the processor has: what multiply() does without AMX.
void multiply_on_vectors(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right,
                         const Counted& counted, float* out);

}  // namespace syco::tiles::x86
