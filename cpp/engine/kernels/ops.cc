#include "engine/kernels/ops.h"

#include <ATen/native/CPUBlas.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/base/errors.h"
#include "engine/kernels/strips.h"

namespace syco {
namespace {

// Bytes of left factors that stay in a core's own cache while panels pass by, which must fit beside them.
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

bool has_avx512() {
#ifdef __x86_64__
  return __builtin_cpu_supports("avx512f");
#else
  return false;
#endif
}

// c (m, 64) = a (m, k) x b (k, 64) by torch; leaves c alone where torch has no such product.
#ifdef CPUBLAS_BRGEMM_F32F32F32
void multiply_by_torch(std::int64_t m, std::int64_t k, const float* a, std::int64_t a_stride, const float* b,
                       float* c) {
  at::native::cpublas::brgemm(m, kColumns, k, a_stride, kColumns, kColumns, false, a, b, c);
}
#else
void multiply_by_torch(std::int64_t, std::int64_t, const float*, std::int64_t, const float*, float*) {}
#endif

// Whether torch's products of blocks are as fast as the processor: with AVX-512. For AVX2 ours are 7 % faster,
// with half the error.
bool multiplies_by_torch() {
  static const bool does = [] {
    const std::array<float, kColumns> ones{1};
    std::array<float, kColumns> product{};
    try {
      multiply_by_torch(1, 1, ones.data(), 1, ones.data(), product.data());
    } catch (const c10::Error&) {
      return false;
    }
    return product[0] == 1 && has_avx512();
  }();
  return does;
}

// Whether a packed panel is the panel as it is, as torch's float32 products read it.
bool packs_as_is(MatmulPrecision precision) { return precision == MatmulPrecision::kHighest && multiplies_by_torch(); }

// Rows of a block as contiguous float32, for a weight stored as (columns, rows).
const float* turn_block(const Matrix& matrix, std::int64_t block, float* scratch) {
  const std::int64_t rows = matrix.rows_of(block), stored = matrix.weight.size(1);
  const float* w = matrix.weight.const_data_ptr<float>() + matrix.first_row + block * matrix.block_stride;
  for (std::int64_t j = 0; j < matrix.columns; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) scratch[i * matrix.columns + j] = w[j * stored + i];
  }
  return scratch;
}

// Rows of a block as they lie in the caller's memory.
const float* rows_in_place(const Matrix& matrix, std::int64_t block) {
  return matrix.weight.const_data_ptr<float>() +
         (matrix.first_row + block * matrix.block_stride) * matrix.weight.size(1);
}

// Floats that a left factor of `precision` takes.
std::int64_t operand_size(MatmulPrecision precision, std::int64_t rows, std::int64_t columns) {
  const std::int64_t floats = block_size(rows, columns);
  return precision == MatmulPrecision::kMedium ? floats / 2 : floats;
}

// A left factor of our own, as it lies in memory.
Block lay_block(MatmulPrecision precision, std::int64_t rows, std::int64_t columns, float* memory) {
  if (precision == MatmulPrecision::kHighest) return {.floats = memory, .tiles = {}, .rows = rows, .stride = columns};
  auto* main = reinterpret_cast<std::uint16_t*>(memory);
  std::uint16_t* rest = precision == MatmulPrecision::kHigh ? main + tiles::left_size(rows, columns) : nullptr;
  return {.floats = nullptr, .tiles = {main, rest}, .rows = rows, .stride = tiles::whole(columns, tiles::kFeatures)};
}

// A packed panel of so many features as right factor.
tiles::Factor right_factor(MatmulPrecision precision, const float* packed, std::int64_t features) {
  auto* main = reinterpret_cast<std::uint16_t*>(const_cast<float*>(packed));
  return {main, precision == MatmulPrecision::kHigh ? main + tiles::right_size(features) : nullptr};
}

void multiply_tiles(const Block& block, const float* packed, std::int64_t features, const tiles::Counted& counted,
                    float* out) {
  const auto precision = block.tiles.rest ? MatmulPrecision::kHigh : MatmulPrecision::kMedium;
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
  return bias.defined() ? bias.const_data_ptr<float>() + first_row + block * block_stride : nullptr;
}

std::int64_t packed_size(std::int64_t features) { return padded(features) * kColumns; }

float* unpacked_rows(MatmulPrecision precision, float* packed, std::int64_t row, float* scratch) {
  return packs_as_is(precision) ? packed + row * kColumns : scratch;
}

void pack_rows(MatmulPrecision precision, const float* x, std::int64_t row, std::int64_t rows, std::int64_t features,
               float* packed) {
  if (precision != MatmulPrecision::kHighest) {
    tiles::fill_right(x, row, rows, features, right_factor(precision, packed, features));
  } else if (!packs_as_is(precision)) {
    strips::fill(x, row, rows, features, packed);
  } else if (x != packed + row * kColumns) {
    std::memcpy(packed + row * kColumns, x, rows * kColumns * sizeof(float));
  }
}

std::int64_t block_size(std::int64_t rows, std::int64_t columns) {
  return tiles::whole(rows, tiles::kRows) * tiles::kRows * padded(columns);
}

Block make_block(MatmulPrecision precision, std::int64_t rows, std::int64_t columns, float* memory) {
  std::memset(memory, 0, operand_size(precision, rows, columns) * sizeof(float));
  return lay_block(precision, rows, columns, memory);
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

Block make_factor(MatmulPrecision precision, const Matrix& matrix, std::int64_t block, float* memory, float* turned) {
  const std::int64_t rows = matrix.rows_of(block), columns = matrix.columns;
  const bool is_float = precision == MatmulPrecision::kHighest;
  const float* w =
      matrix.transposed ? turn_block(matrix, block, is_float ? memory : turned) : rows_in_place(matrix, block);
  if (is_float) {
    return {.floats = const_cast<float*>(w), .tiles = {}, .rows = rows, .stride = columns};
  }
  const Block own = padded(columns) == columns ? lay_block(precision, rows, columns, memory)
                                               : make_block(precision, rows, columns, memory);
  fill_block(own, 0, 0, w, columns, rows, columns);
  return own;
}

std::int64_t factor_size(MatmulPrecision precision, const Matrix& matrix) {
  if (precision == MatmulPrecision::kHighest && !matrix.transposed) return 0;
  return operand_size(precision, matrix.block_rows, matrix.columns);
}

std::int64_t blocks_together(MatmulPrecision precision, const Matrix& matrix) {
  const std::int64_t bytes = operand_size(precision, matrix.block_rows, matrix.columns) * std::int64_t{sizeof(float)};
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
  } else if (packs_as_is(MatmulPrecision::kHighest)) {
    multiply_by_torch(block.rows, features, block.floats, block.stride, packed, out);
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
  } else if (packs_as_is(MatmulPrecision::kHighest)) {
    multiply_block(block, packed, features, out);
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
