// Matrix products of weights with panels, and attention on panels: the only place that knows number types.
//
// Activations, residual stream, softmax and logits are float32; `MatmulPrecision` chooses how operands enter a product,
// in PyTorch's words. A weight, in float32, bfloat16 or float16, is the left factor as it lies in the caller's memory,
// (rows, columns); the right factor is a panel, so that a column of the result depends on that column alone and a job's
// numbers never on its other prompts, on the order or on the number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/kernels/kernels.h"
#include "engine/kernels/tiles.h"
#include "engine/kernels/weight.h"

namespace syco {

enum class MatmulPrecision {
  kHighest,  // float32
  kHigh,     // each operand the sum of two bfloat16 numbers, three products, float32 sums; relative error 4e-6; a
             // weight in bfloat16 is one, with two products
  kMedium,   // each operand rounded to bfloat16, float32 sums; relative error 2e-3; not attention scores and logits
};

MatmulPrecision parse_precision(const std::string& name);
std::string to_string(MatmulPrecision precision);

// What attention scores and logits are computed in: they are a few percent of the work, and exponentials follow that
// turn their absolute errors into relative ones, so `medium` takes `high` there, or `highest` where that is faster.
// Measured on SmolLM2: |d margin| 0.012 nats in place of 0.021.
MatmulPrecision before_exponentials(MatmulPrecision precision);

// Whether this processor has instructions that make the products of `precision` faster than float32's.
bool is_fast(MatmulPrecision precision);

inline constexpr std::int64_t kBlockRows = 64;

struct LowRank;

// A linear layer on the caller's memory. Its rows come in blocks: block b holds rows of the stored weight from
// first_row + b * block_stride on, as a fused weight interleaves them.
struct Matrix {
  Weight weight;  // (stored rows, columns), or (columns, stored rows) if transposed
  Weight bias;    // (stored rows), or undefined; in the weight's type, and for bias_of() in float32
  std::int64_t rows = 0, columns = 0;
  std::int64_t first_row = 0, block_rows = kBlockRows, block_stride = kBlockRows;
  bool transposed = false;
  std::shared_ptr<const LowRank> low_rank = {};  // what an adapter adds; null without one

  std::int64_t num_blocks() const { return (rows + block_rows - 1) / block_rows; }
  std::int64_t rows_of(std::int64_t block) const { return std::min(block_rows, rows - block * block_rows); }
  const float* bias_of(std::int64_t block) const;
};

// What an adapter makes of a linear layer W x + bias: row_factors * (W x + up (down x)) + bias. All float32.
struct LowRank {
  Matrix down, up;     // (rank, columns) and (stored rows, rank), of which `up` has the rows of the layer's matrix
  Weight row_factors;  // (stored rows), DoRA's; undefined where they are 1

  const float* row_factors_of(std::int64_t block) const;
};

// Features of a panel, packed as right factor; sizes in floats.
std::int64_t packed_size(std::int64_t features);
// Where to compute rows that are then packed from `row` on: at their place where they are packed as they are, else in
// `scratch`.
float* unpacked_rows(MatmulPrecision precision, float* packed, std::int64_t row, float* scratch);
// Packs rows [row, row + rows) of a panel of `features`; the last rows bring the padding with them. `row` is even.
void pack_rows(MatmulPrecision precision, const float* x, std::int64_t row, std::int64_t rows, std::int64_t features,
               float* packed);

// Left factor of a product: float32 numbers row by row, or bfloat16 tiles.
struct Block {
  float* floats = nullptr;
  tiles::Factor tiles;
  std::int64_t rows = 0;
  std::int64_t stride = 0;    // from row to row of the floats, or tiles that a row of them has
  bool splits_panel = false;  // whether it is multiplied with panels that are sums of two numbers: in `high`

  bool is_float() const { return floats != nullptr; }
};

// Floats that a left factor of our own takes.
std::int64_t block_size(std::int64_t rows, std::int64_t columns);
// A left factor in memory of our own, (rows, columns), all zero.
Block make_block(MatmulPrecision precision, std::int64_t rows, std::int64_t columns, float* memory);
// Writes a part of it, (rows, columns) from (row, column) on.
void fill_block(const Block& block, std::int64_t row, std::int64_t column, const float* x, std::int64_t x_stride,
                std::int64_t rows, std::int64_t columns);
// Its rows [row, row + rows); `row` is a multiple of tiles::kRows.
Block rows_of(const Block& block, std::int64_t row, std::int64_t rows);

// A block of a matrix as left factor: on the caller's memory where it needs no change, else in `memory`, of block_size
// floats; a weight that is neither float32 nor left as it is goes by way of `scratch`, of block_size floats.
Block make_factor(MatmulPrecision precision, const Matrix& matrix, std::int64_t block, float* memory, float* scratch);
// Floats of a block's factor, 0 where it lies on the caller's memory.
std::int64_t factor_size(MatmulPrecision precision, const Matrix& matrix);
// Whether its factors are made so quickly that every thread makes its own, in its cache: 16 bits made 32.
bool is_widened(MatmulPrecision precision, const Matrix& matrix);

// Blocks of a matrix that a core's own cache holds next to a panel, at least one.
std::int64_t blocks_together(MatmulPrecision precision, const Matrix& matrix);

// out (block.rows, 64) = block x packed, a panel of so many features.
void multiply_block(const Block& block, const float* packed, std::int64_t features, float* out);
// The same, where columns of a half without its bit in `halves` are not wanted: they may be left as they are.
void multiply_halves(const Block& block, const float* packed, std::int64_t features, std::uint8_t halves, float* out);
// The same as multiply_block, where features that are 0 may stand anywhere among the others and must not change a bit.
// Where `halves` is not null, features [32 k, 32 k + 32) are 0 in a half without its bit in halves[k].
void multiply_in_order(const Block& block, const float* packed, std::int64_t features, const std::uint8_t* halves,
                       float* out);

// A thread multiplies blocks while it holds one of these.
class TileUse {
 public:
  explicit TileUse(MatmulPrecision precision);
  ~TileUse();
  TileUse(const TileUse&) = delete;
  TileUse& operator=(const TileUse&) = delete;

 private:
  MatmulPrecision precision_;
};

}  // namespace syco
