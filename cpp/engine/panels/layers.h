// Steps of a layer on panels, which all families share.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include "core/base/threads.h"
#include "core/plan/trie.h"
#include "engine/kernels/workspace.h"
#include "engine/panels/factors.h"

namespace syco {

// Floats that a thread's own factors of any of `layers` take.
std::int64_t own_factors_size(MatmulPrecision precision, std::span<const Matrices> layers);
// What adapters on layers need room for: the highest rank, and rows of the largest block; 0 without an adapter.
struct LowRankSize {
  std::int64_t rank = 0, block_rows = 0;
};
LowRankSize low_rank_size(std::span<const Matrices> layers);

// What one thread works with at a time.
struct Scratch {
  float *tile, *second_tile, *normed, *keys, *values, *query, *scores, *maximum, *weights, *factors, *low, *low_tile;
};

// A Scratch for every thread: for layers of `spec`, attention to `max_keys` slots at once, `factors` floats of the
// thread's own factors, and adapters.
class Scratches {
 public:
  Scratches() = default;
  Scratches(const Spec& spec, std::int64_t threads, std::int64_t max_keys, std::int64_t factors,
            const LowRankSize& adapters = {});
  Scratch of_this_thread() const;

 private:
  std::array<std::int64_t, 12> sizes_{};  // in floats, in the order of the members of Scratch
  Workspace memory_;                      // (threads, floats)
};

// Panels that a thread takes at most before it looks what else there is to do: few enough that none waits long for the
// others, many enough that a layer's weights are seldom fetched.
inline constexpr std::int64_t kPanelsAShare = 8;

// A thread's share of a step: panels [begin, end).
struct Share {
  MatmulPrecision precision;
  const Factors& factors;  // of the layer
  Scratch scratch;
  std::int64_t begin, end;
};

// x = act(x) * up, or act(x) where `up` is null.
void activate(Activation activation, float* x, const float* up, std::int64_t rows);

// y = norm(x) over the features of a panel; x may be y.
void normalize(const Spec& spec, const Norm& norm, const float* x, std::int64_t features, float* y);

// to = matrix x from + bias, block by block, each over all panels while the block is in cache; `from` is packed.
void project(const Share& share, const Matrix& matrix, const Workspace& from, const Workspace& to);
// The same, times `factor`, added to `residual`.
void add_product(const Share& share, const Matrix& matrix, const Workspace& from, const Workspace& residual,
                 float factor = 1);
// to = act(gate) * up, or act(up), of `from`; both packed.
void run_mlp(const Share& share, const Spec& spec, const LayerWeights& layer, const Workspace& from,
             const Workspace& to);

// Keys (P, heads * head_dim, 64) of panels [begin, end) as rows of `key_rows`, (heads, P * 64, head_dim).
void turn_keys(const Share& share, const Workspace& keys, const Workspace& key_rows);

// Writes the keys and values of rows [row, row + count) into `slot` and on of keys (slots, head_dim) and values
// (head_dim, slots); `key_rows` as above, `value` as panels.
void copy_keys(const Workspace& key_rows, const Workspace& value, std::int64_t head, std::int64_t row,
               std::int64_t count, std::int64_t slot, const Block& keys, const Block& values);

// Room for keys (slots, head_dim), all zero.
Block make_keys(MatmulPrecision precision, const Scratch& scratch, std::int64_t slots, std::int64_t head_dim);
// scratch.scores (slots, 64) = keys x query (head_dim, 64), and scratch.maximum over slots. Scores are made tile by
// tile of slots, and finish(tile, scores) may change a tile's while they are in cache. Where `halves` is not null, a
// half of the columns without its bit in halves[tile] sees none of the tile, and finish() hides it.
template <typename Finish>
void score_keys(MatmulPrecision precision, const Scratch& scratch, const Block& keys, const float* query,
                std::int64_t head_dim, const std::uint8_t* halves, const Finish& finish) {
  pack_rows(before_exponentials(precision), query, 0, head_dim, head_dim, scratch.query);
  std::fill_n(scratch.maximum, kColumns, -std::numeric_limits<float>::infinity());
  for (std::int64_t t = 0; t < keys.rows / kTileSlots; ++t) {
    float* scores = scratch.scores + t * kTileSlots * kColumns;
    multiply_halves(rows_of(keys, t * kTileSlots, kTileSlots), scratch.query, head_dim,
                    halves ? halves[t] : kBothHalves, scores);
    finish(t, scores);
    raise_maximum(scores, kTileSlots, scratch.maximum);
  }
}
// Hides what a column does not see of a tile: other branches, its future, and what lies before its window, if that is
// not 0.
void mask_scores(const Panel& panel, std::int64_t window, std::int64_t tile, float* scores);
// out (head_dim, 64) = values x softmax(scale * scratch.scores), over the first `slots`; `halves` as above.
void mix_values(MatmulPrecision precision, const Scratch& scratch, const Block& values, std::int64_t slots,
                const std::uint8_t* halves, float scale, float* out);

}  // namespace syco
