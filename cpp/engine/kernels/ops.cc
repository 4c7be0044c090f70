#include "engine/kernels/ops.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/base/errors.h"
#include "engine/kernels/strips.h"

namespace syco {
namespace {

// Bytes of left factors that stay in a core's own cache while panels pass by, which must fit next to them.
std::int64_t group_bytes() {
  static const std::int64_t bytes = [] {
    constexpr std::int64_t kUnknown = std::int64_t{1} << 20;
#ifdef _SC_LEVEL2_CACHE_SIZE
    const std::int64_t cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
#else
    const std::int64_t cache = 0;
#endif
    return (cache > 0 ? cache : kUnknown) * 3 / 8;
  }();
  return bytes;
}

std::int64_t padded(std::int64_t features) { return tiles::whole(features, tiles::kFeatures) * tiles::kFeatures; }

// Whether a packed panel is the panel as it is.
bool packs_as_is(MatmulPrecision precision) { return precision == MatmulPrecision::kHighest && strips::are_panels(); }

std::int64_t first_row_of(const Matrix& matrix, std::int64_t block) {
  return matrix.first_row + block * matrix.block_stride;
}

// Rows of a block, one after the other, as float32.
void read_block(const Matrix& matrix, std::int64_t block, float* y) {
  const std::int64_t rows = matrix.rows_of(block), first = first_row_of(matrix, block);
  if (!matrix.transposed) return read_numbers(matrix.weight, first * matrix.columns, rows * matrix.columns, y);
  std::vector<float> column(rows);
  for (std::int64_t j = 0; j < matrix.columns; ++j) {
    read_numbers(matrix.weight, j * matrix.weight.size(1) + first, rows, column.data());
    for (std::int64_t i = 0; i < rows; ++i) y[i * matrix.columns + j] = column[i];
  }
}

// Whether a block's rows lie in the caller's memory as numbers of `type`.
bool lies_as(NumberType type, const Matrix& matrix) { return !matrix.transposed && matrix.weight.type() == type; }

template <typename Number>
const Number* rows_in_place(const Matrix& matrix, std::int64_t block) {
  return static_cast<const Number*>(matrix.weight.data()) + first_row_of(matrix, block) * matrix.columns;
}

// Whether a left factor is the sum of two bfloat16 numbers: not where one holds the weight.
bool has_rest(MatmulPrecision precision, NumberType weights) {
  return precision == MatmulPrecision::kHigh && weights != NumberType::kBFloat16;
}

// Floats that a left factor of numbers of a type takes.
std::int64_t operand_size(MatmulPrecision precision, NumberType type, std::int64_t rows, std::int64_t columns) {
  const std::int64_t floats = block_size(rows, columns);
  return precision == MatmulPrecision::kHighest || has_rest(precision, type) ? floats : floats / 2;
}

// A left factor of our own, as it lies in memory.
Block lay_block(MatmulPrecision precision, NumberType type, std::int64_t rows, std::int64_t columns, float* memory) {
  if (precision == MatmulPrecision::kHighest) return {.floats = memory, .tiles = {}, .rows = rows, .stride = columns};
  auto* main = reinterpret_cast<std::uint16_t*>(memory);
  std::uint16_t* rest = has_rest(precision, type) ? main + tiles::left_size(rows, columns) : nullptr;
  return {.floats = nullptr,
          .tiles = {main, rest},
          .rows = rows,
          .stride = tiles::whole(columns, tiles::kFeatures),
          .splits_panel = precision == MatmulPrecision::kHigh};
}

// A packed panel of so many features as right factor.
tiles::Factor right_factor(MatmulPrecision precision, const float* packed, std::int64_t features) {
  auto* main = reinterpret_cast<std::uint16_t*>(const_cast<float*>(packed));
  return {main, precision == MatmulPrecision::kHigh ? main + tiles::right_size(features) : nullptr};
}

void multiply_tiles(const Block& block, const float* packed, std::int64_t features, const tiles::Counted& counted,
                    float* out) {
  const auto precision = block.splits_panel ? MatmulPrecision::kHigh : MatmulPrecision::kMedium;
  tiles::multiply(block.rows, block.stride, block.tiles, right_factor(precision, packed, features), counted, out);
}

}  // namespace

MatmulPrecision parse_precision(const std::string& name) {
  for (const auto p : {MatmulPrecision::kHighest, MatmulPrecision::kHigh, MatmulPrecision::kMedium}) {
    if (to_string(p) == name) return p;
  }
  throw ModelError("engine: matmul_precision must be highest, high or medium, got " + name);
}

std::string to_string(MatmulPrecision precision) {
  return precision == MatmulPrecision::kHighest ? "highest" : precision == MatmulPrecision::kHigh ? "high" : "medium";
}

MatmulPrecision before_exponentials(MatmulPrecision precision) {
  if (precision != MatmulPrecision::kMedium) return precision;
  return tiles::have_fast_instructions() ? MatmulPrecision::kHigh : MatmulPrecision::kHighest;
}

bool is_fast(MatmulPrecision precision) {
  if (precision == MatmulPrecision::kHigh) return tiles::have_fast_instructions();
  return precision == MatmulPrecision::kHighest || tiles::have_instructions();
}

const float* Matrix::bias_of(std::int64_t block) const {
  return bias.defined() ? bias.floats() + first_row + block * block_stride : nullptr;
}

const float* LowRank::row_factors_of(std::int64_t block) const {
  return row_factors.defined() ? row_factors.floats() + first_row_of(up, block) : nullptr;
}

std::int64_t packed_size(std::int64_t features) { return padded(features) * kColumns; }

float* unpacked_rows(MatmulPrecision precision, float* packed, std::int64_t row, float* scratch) {
  return packs_as_is(precision) ? packed + row * kColumns : scratch;
}

void pack_rows(MatmulPrecision precision, const float* x, std::int64_t row, std::int64_t rows, std::int64_t features,
               float* packed) {
  if (precision != MatmulPrecision::kHighest) {
    tiles::fill_right(x, row, rows, features, right_factor(precision, packed, features));
  } else {
    strips::fill(x, row, rows, features, packed);
  }
}

std::int64_t block_size(std::int64_t rows, std::int64_t columns) {
  return tiles::whole(rows, tiles::kRows) * tiles::kRows * padded(columns);
}

Block make_block(MatmulPrecision precision, std::int64_t rows, std::int64_t columns, float* memory) {
  std::memset(memory, 0, operand_size(precision, NumberType::kFloat32, rows, columns) * sizeof(float));
  return lay_block(precision, NumberType::kFloat32, rows, columns, memory);
}

void fill_block(const Block& block, std::int64_t row, std::int64_t column, const float* x, std::int64_t x_stride,
                std::int64_t rows, std::int64_t columns) {
  if (!block.is_float()) {
    return tiles::fill_left(x, x_stride, rows, columns, block.tiles, block.stride, row, column);
  }
  for (std::int64_t i = 0; i < rows; ++i) {
    std::memcpy(block.floats + (row + i) * block.stride + column, x + i * x_stride, columns * sizeof(float));
  }
}

Block rows_of(const Block& block, std::int64_t row, std::int64_t rows) {
  Block part = block;
  part.rows = rows;
  if (block.is_float()) {
    part.floats += row * block.stride;
  } else {
    part.tiles.main += row * block.stride * tiles::kFeatures;
    if (block.tiles.rest) part.tiles.rest += row * block.stride * tiles::kFeatures;
  }
  return part;
}

Block make_factor(MatmulPrecision precision, const Matrix& matrix, std::int64_t block, float* memory, float* scratch) {
  const std::int64_t rows = matrix.rows_of(block), columns = matrix.columns;
  const NumberType type = matrix.weight.type();
  const bool is_float = precision == MatmulPrecision::kHighest, is_in_place = lies_as(NumberType::kFloat32, matrix);
  const auto* in_place = is_in_place ? rows_in_place<float>(matrix, block) : nullptr;
  if (is_float && is_in_place) {
    return {.floats = const_cast<float*>(in_place), .tiles = {}, .rows = rows, .stride = columns};
  }
  const Block own = lay_block(precision, type, rows, columns, memory);
  if (is_float) {
    read_block(matrix, block, memory);
    return own;
  }
  if (padded(columns) != columns) std::memset(memory, 0, operand_size(precision, type, rows, columns) * sizeof(float));
  if (lies_as(NumberType::kBFloat16, matrix)) {
    tiles::copy_left(rows_in_place<std::uint16_t>(matrix, block), rows, columns, own.tiles.main);
    return own;
  }
  if (!is_in_place) read_block(matrix, block, scratch);
  fill_block(own, 0, 0, is_in_place ? in_place : scratch, columns, rows, columns);
  return own;
}

bool is_widened(MatmulPrecision precision, const Matrix& matrix) {
  return precision == MatmulPrecision::kHighest && !matrix.transposed && !lies_as(NumberType::kFloat32, matrix);
}

std::int64_t factor_size(MatmulPrecision precision, const Matrix& matrix) {
  if (precision == MatmulPrecision::kHighest && lies_as(NumberType::kFloat32, matrix)) return 0;
  return operand_size(precision, matrix.weight.type(), matrix.block_rows, matrix.columns);
}

std::int64_t blocks_together(MatmulPrecision precision, const Matrix& matrix) {
  const std::int64_t bytes =
      operand_size(precision, matrix.weight.type(), matrix.block_rows, matrix.columns) * std::int64_t{sizeof(float)};
  return std::max<std::int64_t>(group_bytes() / bytes, 1);
}

void multiply_block(const Block& block, const float* packed, std::int64_t features, float* out) {
  multiply_halves(block, packed, features, kBothHalves, out);
}

void multiply_halves(const Block& block, const float* packed, std::int64_t features, std::uint8_t halves, float* out) {
  if (!block.is_float()) {
    for (const std::int64_t half : {0, 1}) {
      if (halves >> half & 1) multiply_tiles(block, packed, features, {.half = half}, out);
    }
  } else {
    strips::multiply(block.rows, features, block.floats, block.stride, packed, out);
  }
}

void multiply_in_order(const Block& block, const float* packed, std::int64_t features, const std::uint8_t* halves,
                       float* out) {
  if (!block.is_float()) {
    for (const std::int64_t half : {0, 1}) {
      multiply_tiles(block, packed, features, {.half = half, .halves = halves}, out);
    }
  } else {
    strips::multiply_in_order(block.rows, features, block.floats, block.stride, packed, out);
  }
}

TileUse::TileUse(MatmulPrecision precision) : precision_(precision) {
  if (precision_ != MatmulPrecision::kHighest) tiles::begin();
}

TileUse::~TileUse() {
  if (precision_ != MatmulPrecision::kHighest) tiles::end();
}

}  // namespace syco
