#include "engine/panels/layers.h"

#include <algorithm>
#include <numeric>

namespace syco {
namespace {

// Floats, up to whole cache lines.
std::int64_t whole_lines(std::int64_t floats) { return (floats + 15) / 16 * 16; }

// Blocks of each of `width` matrices that are multiplied together.
std::int64_t blocks_of_group(MatmulPrecision precision, const Matrix& matrix, std::int64_t width) {
  return std::max<std::int64_t>(blocks_together(precision, matrix) / width, 1);
}

// Calls use(blocks, their number, panel) for a block of each of `matrices`, which are alike, with every panel of a
// thread: group by group, so that neither the group's blocks nor a panel leave the cache meanwhile.
template <typename Use>
void each_product(const Share& share, std::span<const Matrix* const> matrices, const Use& use) {
  const auto width = static_cast<std::int64_t>(matrices.size());
  const std::int64_t count = matrices[0]->num_blocks(), size = factor_size(share.precision, *matrices[0]);
  const std::int64_t together = blocks_of_group(share.precision, *matrices[0], width);
  std::vector<Block> group(together * width);
  for (std::int64_t first = 0; first < count; first += together) {
    const std::int64_t end = std::min(first + together, count);
    for (std::int64_t i = 0; i < (end - first) * width; ++i) {
      group[i] = share.factors.of(*matrices[i % width], first + i / width, share.scratch.factors + i * size);
    }
    for (std::int64_t p = share.begin; p < share.end; ++p) {
      for (std::int64_t b = first; b < end; ++b) use(&group[(b - first) * width], b, p);
    }
  }
}

// Adds what an adapter adds, if there is one: low (panels, packed rank) of each panel of a share is its `down` times
// the panel, made before the products whose blocks are then completed.
class LowRankUse {
 public:
  LowRankUse(const Share& share, const Matrix& matrix, const Workspace& from, float* low)
      : share_(share), adapter_(matrix.low_rank.get()), low_(low) {
    if (!adapter_) return;
    const Matrix& down = adapter_->down;
    for (std::int64_t p = share.begin; p < share.end; ++p) {
      for (std::int64_t b = 0; b < down.num_blocks(); ++b) {
        const std::int64_t row = b * kBlockRows;
        float* tile = unpacked_rows(share.precision, low_of(p), row, share.scratch.low_tile);
        multiply_block(share.factors.of(down, b, nullptr), panel_of(from, p), down.columns, tile);
        pack_rows(share.precision, tile, row, down.rows_of(b), down.rows, low_of(p));
      }
    }
  }

  // Of block `number` of the matrix and a panel: `out` is their product.
  void complete(std::int64_t number, std::int64_t panel, float* out) const {
    if (!adapter_) return;
    const Block up = share_.factors.of(adapter_->up, number, nullptr);
    multiply_block(up, low_of(panel), adapter_->down.rows, share_.scratch.low_tile);
    add(out, share_.scratch.low_tile, up.rows);
    if (const float* factors = adapter_->row_factors_of(number)) {
      for (std::int64_t i = 0; i < up.rows; ++i) scale(out + i * kColumns, factors[i], 1);
    }
  }

 private:
  float* low_of(std::int64_t panel) const { return low_ + (panel - share_.begin) * packed_size(adapter_->down.rows); }

  const Share& share_;
  const LowRank* adapter_;
  float* low_;
};

}  // namespace

LowRankSize low_rank_size(std::span<const Matrices> layers) {
  LowRankSize size;
  for (const Matrices& layer : layers) {
    for (const Matrix* matrix : layer) {
      if (!matrix->low_rank) continue;
      size.rank = std::max(size.rank, matrix->low_rank->down.rows);
      size.block_rows = std::max({size.block_rows, matrix->block_rows, kBlockRows});
    }
  }
  return size;
}

std::int64_t own_factors_size(MatmulPrecision precision, std::span<const Matrices> layers) {
  std::int64_t most = 0;
  for (const Matrices& layer : layers) {
    for (const Matrix* matrix : layer) {
      if (!is_widened(precision, *matrix)) continue;
      const std::int64_t blocks = std::max<std::int64_t>(blocks_together(precision, *matrix), 2);  // the MLP's two
      most = std::max(most, blocks * factor_size(precision, *matrix));
    }
  }
  return most;
}

Scratches::Scratches(const Spec& spec, std::int64_t threads, std::int64_t max_keys, std::int64_t factors,
                     const LowRankSize& adapters) {
  const std::int64_t q = spec.num_heads * spec.head_dim;
  const std::int64_t rows = std::max(kBlockRows, spec.head_dim);  // a block of an output or of an MLP, or a head
  sizes_ = {rows * kColumns,                                      // tile
            rows * kColumns,                                      // second_tile
            std::max(spec.hidden, q) * kColumns,                  // normed
            block_size(max_keys, spec.head_dim),                  // keys
            block_size(spec.head_dim, max_keys),                  // values
            packed_size(spec.head_dim),                           // query
            max_keys * kColumns,                                  // scores
            kColumns,                                             // maximum
            packed_size(max_keys),                                // weights
            factors,
            2 * kPanelsAShare * packed_size(adapters.rank),  // low: of the MLP's two
            adapters.block_rows * kColumns};                 // low_tile
  for (std::int64_t& size : sizes_) size = whole_lines(size);
  const std::int64_t floats = std::accumulate(sizes_.begin(), sizes_.end(), std::int64_t{0});
  memory_ = Workspace({threads, floats});
}

Scratch Scratches::of_this_thread() const {
  Scratch scratch{};
  float** parts[] = {&scratch.tile,    &scratch.second_tile, &scratch.normed, &scratch.keys,
                     &scratch.values,  &scratch.query,       &scratch.scores, &scratch.maximum,
                     &scratch.weights, &scratch.factors,     &scratch.low,    &scratch.low_tile};
  float* memory = panel_of(memory_, Team::this_thread());
  for (std::size_t i = 0; i < sizes_.size(); memory += sizes_[i++]) *parts[i] = memory;
  return scratch;
}

void activate(Activation activation, float* x, const float* up, std::int64_t rows) {
  switch (activation) {
    case Activation::kSilu:
      return silu(x, up, rows);
    case Activation::kGelu:
      return gelu(x, up, rows);
    case Activation::kGeluTanh:
      return gelu_tanh(x, up, rows);
    case Activation::kRelu:
      return relu(x, up, rows);
  }
}

void normalize(const Spec& spec, const Norm& norm, const float* x, std::int64_t features, float* y) {
  const auto* weight = norm.weight.floats();
  if (spec.norm == NormKind::kLayer) {
    const float* bias = norm.bias.defined() ? norm.bias.floats() : nullptr;
    layer_norm(x, weight, bias, spec.norm_epsilon, features, y);
  } else {
    rms_norm(x, weight, spec.norm == NormKind::kRmsPlusOne ? 1.0F : 0.0F, spec.norm_epsilon, features, y);
  }
}

void project(const Share& share, const Matrix& matrix, const Workspace& from, const Workspace& to) {
  const LowRankUse adapter(share, matrix, from, share.scratch.low);
  each_product(share, std::array{&matrix}, [&](const Block* blocks, std::int64_t number, std::int64_t panel) {
    const Block& block = *blocks;
    float* out = panel_of(to, panel) + number * matrix.block_rows * kColumns;
    multiply_block(block, panel_of(from, panel), matrix.columns, out);
    adapter.complete(number, panel, out);
    if (const float* bias = matrix.bias_of(number)) add_bias(out, bias, block.rows);
  });
}

void add_product(const Share& share, const Matrix& matrix, const Workspace& from, const Workspace& residual,
                 float factor) {
  float* tile = share.scratch.tile;
  const LowRankUse adapter(share, matrix, from, share.scratch.low);
  each_product(share, std::array{&matrix}, [&](const Block* blocks, std::int64_t number, std::int64_t panel) {
    const Block& block = *blocks;
    multiply_block(block, panel_of(from, panel), matrix.columns, tile);
    adapter.complete(number, panel, tile);
    if (const float* bias = matrix.bias_of(number)) add_bias(tile, bias, block.rows);
    if (factor != 1) scale(tile, factor, block.rows);
    add(panel_of(residual, panel) + number * matrix.block_rows * kColumns, tile, block.rows);
  });
}

void run_mlp(const Share& share, const Spec& spec, const LayerWeights& w, const Workspace& from, const Workspace& to) {
  const Scratch& scratch = share.scratch;
  const Matrix& first = spec.gated ? w.gate : w.up;
  const std::array both = {&first, &w.up};
  const auto used = std::span(both).first(spec.gated ? 2 : 1);
  const std::int64_t rank = first.low_rank ? first.low_rank->down.rows : 0;
  const LowRankUse first_adapter(share, first, from, scratch.low);
  const LowRankUse second_adapter(share, spec.gated ? w.up : Matrix{}, from,
                                  scratch.low + kPanelsAShare * packed_size(rank));
  each_product(share, used, [&](const Block* blocks, std::int64_t number, std::int64_t panel) {
    const Block& block = blocks[0];
    float* tile = unpacked_rows(share.precision, panel_of(to, panel), number * kBlockRows, scratch.tile);
    multiply_block(block, panel_of(from, panel), spec.hidden, tile);
    first_adapter.complete(number, panel, tile);
    if (const float* bias = first.bias_of(number)) add_bias(tile, bias, block.rows);
    if (spec.gated) {
      multiply_block(blocks[1], panel_of(from, panel), spec.hidden, scratch.second_tile);
      second_adapter.complete(number, panel, scratch.second_tile);
      if (const float* bias = w.up.bias_of(number)) add_bias(scratch.second_tile, bias, block.rows);
    }
    activate(spec.activation, tile, spec.gated ? scratch.second_tile : nullptr, block.rows);
    pack_rows(share.precision, tile, number * kBlockRows, block.rows, spec.intermediate, panel_of(to, panel));
  });
}

void turn_keys(const Share& share, const Workspace& keys, const Workspace& key_rows) {
  const std::int64_t heads = key_rows.size(0), dim = key_rows.size(2);
  for (std::int64_t p = share.begin; p < share.end; ++p) {
    for (std::int64_t h = 0; h < heads; ++h) {
      transpose(panel_of(keys, p) + h * dim * kColumns, dim, kColumns, panel_of(key_rows, h) + p * kColumns * dim, dim);
    }
  }
}

void copy_keys(const Workspace& key_rows, const Workspace& value, std::int64_t head, std::int64_t row,
               std::int64_t count, std::int64_t slot, const Block& keys, const Block& values) {
  const std::int64_t dim = key_rows.size(2);
  fill_block(keys, slot, 0, panel_of(key_rows, head) + row * dim, dim, count, dim);
  for (const std::int64_t end = row + count; row < end;) {
    const std::int64_t column = row % kColumns, part = std::min(end - row, kColumns - column);
    fill_block(values, 0, slot, panel_of(value, row / kColumns) + head * dim * kColumns + column, kColumns, dim, part);
    row += part, slot += part;
  }
}

Block make_keys(MatmulPrecision precision, const Scratch& scratch, std::int64_t slots, std::int64_t head_dim) {
  return make_block(before_exponentials(precision), slots, head_dim, scratch.keys);
}

void mask_scores(const Panel& panel, std::int64_t window, std::int64_t tile, float* scores) {
  const std::int32_t* seen = panel.seen.data() + tile * kColumns;
  std::array<std::int32_t, kColumns> low{};
  if (window > 0) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      low[c] = panel.depths[c] - static_cast<std::int32_t>(window) + 1 - panel.tile_depths[tile];
    }
  } else if (std::all_of(seen, seen + kColumns, [](std::int32_t count) { return count == kTileSlots; })) {
    return;
  }
  mask_rows(scores, low.data(), seen, kTileSlots);
}

static_assert(kTileSlots == tiles::kFeatures, "a tile of keys is one of the features that mix_values sums over");

void mix_values(MatmulPrecision precision, const Scratch& scratch, const Block& values, std::int64_t slots,
                const std::uint8_t* halves, float scale, float* out) {
  std::array<float, kColumns> sum{};
  for (std::int64_t k = 0; k < slots; k += kTileSlots) {
    float* scores = scratch.scores + k * kColumns;
    for (const std::int64_t half : {0, 1}) {
      const std::int64_t c = half * kHalf;
      if (tiles::Counted{half, halves}(k / kTileSlots)) {
        exponentiate_half(scores + c, scale, kTileSlots, scratch.maximum + c, sum.data() + c);
      } else {
        for (std::int64_t j = 0; j < kTileSlots; ++j) std::fill_n(scores + j * kColumns + c, kHalf, 0.0F);
      }
    }
    pack_rows(precision, scores, k, kTileSlots, slots, scratch.weights);
  }
  multiply_in_order(values, scratch.weights, slots, halves, out);
  for (float& s : sum) s = 1.0F / s;
  scale_columns(out, sum.data(), values.rows);
}

}  // namespace syco
