// The products of tiles.h in plain loops, for every processor.
#pragma once

#include <cstdint>

#include "engine/kernels/tile_layout.h"

namespace syco::tiles::plain {

void fill_left(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns, const Factor& left,
               std::int64_t row_tiles, std::int64_t row, std::int64_t column);
void fill_right(const float* x, std::int64_t row, std::int64_t rows, std::int64_t features, const Factor& right);
void multiply(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right, const Counted& counted,
              float* out);

}  // namespace syco::tiles::plain
