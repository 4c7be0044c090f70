#include "engine/kernels/tiles.h"

#include <algorithm>

#include "engine/kernels/tiles_plain.h"
#include "engine/kernels/tiles_x86.h"

namespace syco::tiles {

bool have_instructions() { return x86::are_available(); }

bool have_fast_instructions() { return x86::have_tiles(); }

void begin() {
  if (x86::are_available()) x86::begin();
}

void end() {
  if (x86::are_available()) x86::end();
}

void fill_left(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns, const Factor& left,
               std::int64_t row_tiles, std::int64_t row, std::int64_t column) {
  const auto fill = x86::are_available() ? x86::fill_left : plain::fill_left;
  fill(x, x_stride, rows, columns, left, row_tiles, row, column);
}

void copy_left(const std::uint16_t* x, std::int64_t rows, std::int64_t columns, std::uint16_t* left) {
  const std::int64_t row_tiles = whole(columns, kFeatures);
  for (std::int64_t i = 0; i < rows; ++i, x += columns) {
    std::uint16_t* row = left + i / kRows * row_tiles * kNumbers + i % kRows * kFeatures;
    for (std::int64_t j = 0; j < columns; j += kFeatures) {
      std::copy_n(x + j, std::min(kFeatures, columns - j), row + j / kFeatures * kNumbers);
    }
  }
}

void fill_right(const float* x, std::int64_t row, std::int64_t rows, std::int64_t features, const Factor& right) {
  const auto fill = x86::are_available() ? x86::fill_right : plain::fill_right;
  fill(x, row, rows, features, right);
}

void multiply(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right, const Counted& counted,
              float* out) {
  const auto product = x86::are_available() ? x86::multiply : plain::multiply;
  product(rows, depth, left, right, counted, out);
}

}  // namespace syco::tiles
