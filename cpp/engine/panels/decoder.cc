#include "engine/panels/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "engine/kernels/workspace.h"

namespace syco {

void Decoder::begin(const Plan& plan, std::int64_t max_panels) {
  plan_ = &plan;
  const std::int64_t q = spec_.num_heads * spec_.head_dim, kv = spec_.num_kv_heads * spec_.head_dim;
  const std::int64_t widest = std::max({spec_.hidden, q, spec_.intermediate});
  const std::int64_t p = max_panels, depth = std::max<std::int64_t>(plan.max_depth, 1);
  const std::int64_t max_keys = (depth / kTileSlots + 1 + kColumns) * kTileSlots;  // slots of a panel's tiles
  residual_ = Workspace({p, spec_.hidden, kColumns});
  packed_in_ = Workspace({p, packed_size(spec_.hidden)});
  packed_mid_ = Workspace({p, packed_size(widest)});
  query_ = Workspace({p, q, kColumns});
  key_ = Workspace({p, kv, kColumns});
  value_ = Workspace({p, kv, kColumns});
  key_rows_ = Workspace({spec_.num_kv_heads, p * kColumns, spec_.head_dim});
  if (spec_.norm_place != NormPlace::kBefore || spec_.experts.count > 0)
    joined_ = Workspace({p, spec_.hidden, kColumns});
  make_turns(depth, max_panels);
  chain_keys_ = Workspace({spec_.num_layers, spec_.num_kv_heads, depth, spec_.head_dim});
  chain_values_ = Workspace({spec_.num_layers, spec_.num_kv_heads, spec_.head_dim, depth});
  std::vector<Matrices> layers(weights_.layers.size());
  std::ranges::transform(weights_.layers, layers.begin(), matrices_of);
  factors_ = Factors(team_, precision_, layers);
  scratches_ = Scratches(spec_, team_.size(), max_keys, own_factors_size(precision_, layers), low_rank_size(layers));
  if (spec_.experts.count > 0) experts_ = ExpertMlp(team_, spec_, precision_, max_panels);
}

void Decoder::make_turns(std::int64_t depth, std::int64_t max_panels) {
  turns_.clear();
  for (const Rotation& rotation : spec_.rotations) {
    const auto pairs = static_cast<std::int64_t>(rotation.frequencies.size());
    Turns turns{.pairs = pairs,
                .cosines = Workspace({depth, pairs}),
                .sines = Workspace({depth, pairs}),
                .cosine = Workspace({max_panels, pairs, kColumns}),
                .sine = Workspace({max_panels, pairs, kColumns})};
    for (std::int64_t d = 0; d < depth; ++d) {
      for (std::int64_t i = 0; i < pairs; ++i) {
        const float angle = static_cast<float>(d) * rotation.frequencies[i];
        panel_of(turns.cosines, d)[i] = std::cos(angle) * rotation.scale;
        panel_of(turns.sines, d)[i] = std::sin(angle) * rotation.scale;
      }
    }
    turns_.push_back(std::move(turns));
  }
}

void Decoder::run(const Chunk& chunk, const std::function<void()>& tick) {
  chunk_ = &chunk;
  const std::int64_t panels = chunk.num_panels();
  team_.each(panels, [&](std::int64_t panel) { embed(panel); });
  for (std::int64_t layer = 0; layer < spec_.num_layers; ++layer) {
    factors_.prepare(matrices_of(weights_.layers[layer]));
    team_.shares(panels, kPanelsAShare, [&](std::int64_t begin, std::int64_t end) { read_inputs(layer, begin, end); });
    tick();
    team_.each(panels * spec_.num_kv_heads,
               [&](std::int64_t i) { attend(layer, i / spec_.num_kv_heads, i % spec_.num_kv_heads); });
    keep_chain(layer);
    tick();
    team_.shares(panels, kPanelsAShare, [&](std::int64_t begin, std::int64_t end) { finish_layer(layer, begin, end); });
    tick();
    if (spec_.experts.in(layer)) run_experts(layer, tick);
  }
}

void Decoder::copy_hidden(std::int64_t row, float* column) const {
  const std::int64_t at = row - chunk_->first_row;
  const float* x = panel_of(residual_, at / kColumns) + at % kColumns;
  for (std::int64_t i = 0; i < spec_.hidden; ++i) column[i * kColumns] = x[i * kColumns];
}

void Decoder::embed(std::int64_t panel) {
  float *x = panel_of(residual_, panel), *e = scratches_.of_this_thread().normed;
  for (std::int64_t c = 0; c < kColumns; ++c) {
    const std::int64_t row = chunk_->first_row + panel * kColumns + c;
    const std::int64_t token = row < plan_->num_tokens() ? plan_->tokens[row] : 0;
    const std::int64_t depth = chunk_->panels[panel].depths[c];
    read_numbers(weights_.embedding, token * spec_.hidden, spec_.hidden, e);
    for (std::int64_t i = 0; i < spec_.hidden; ++i) x[i * kColumns + c] = e[i] * spec_.embedding_scale;
    if (weights_.positions.defined()) {
      const float* position = weights_.positions.floats() + depth * spec_.hidden;
      for (std::int64_t i = 0; i < spec_.hidden; ++i) x[i * kColumns + c] += position[i];
    }
    for (const Turns& turns : turns_) {
      for (std::int64_t i = 0; i < turns.pairs; ++i) {
        panel_of(turns.cosine, panel)[i * kColumns + c] = panel_of(turns.cosines, depth)[i];
        panel_of(turns.sine, panel)[i * kColumns + c] = panel_of(turns.sines, depth)[i];
      }
    }
  }
}

void Decoder::read_inputs(std::int64_t layer, std::int64_t begin, std::int64_t end) {
  const LayerWeights& w = weights_.layers[layer];
  const Share mine = share(begin, end);
  const TileUse tiles(precision_);
  for (std::int64_t p = begin; p < end; ++p) normalize_into(w.attention_norm, p, mine.scratch);
  project(mine, w.query, packed_in_, query_);
  project(mine, w.key, packed_in_, key_);
  project(mine, w.value, packed_in_, value_);
  for (std::int64_t p = begin; p < end; ++p) {
    prepare_heads(w.query_norm, panel_of(query_, p), spec_.num_heads, layer, p, mine.scratch);
    prepare_heads(w.key_norm, panel_of(key_, p), spec_.num_kv_heads, layer, p, mine.scratch);
  }
  turn_keys(mine, key_, key_rows_);
}

void Decoder::prepare_heads(const Norm& norm, float* heads, std::int64_t num_heads, std::int64_t layer,
                            std::int64_t panel, const Scratch& scratch) {
  const std::int64_t size = spec_.head_dim * kColumns;
  if (spec_.qk_norm == QkNorm::kWhole) {
    normalize(spec_, norm, heads, num_heads * spec_.head_dim, scratch.normed);
    std::memcpy(heads, scratch.normed, num_heads * size * sizeof(float));
  }
  for (std::int64_t h = 0; h < num_heads; ++h) {
    float* head = heads + h * size;
    if (spec_.qk_norm == QkNorm::kHead) {
      normalize(spec_, norm, head, spec_.head_dim, scratch.normed);
      std::memcpy(head, scratch.normed, size * sizeof(float));
    }
    turn(head, layer, panel);
  }
}

void Decoder::turn(float* head, std::int64_t layer, std::int64_t panel) const {
  const std::int64_t which = spec_.layer_rotations[layer];
  const Turns& turns = turns_[which];
  const auto rotation = spec_.rotations[which].neighbours ? rotate_neighbours : rotate;
  rotation(head, panel_of(turns.cosine, panel), panel_of(turns.sine, panel), turns.pairs);
}

// packed_in = norm(residual), or the residual itself where there is no norm.
void Decoder::normalize_into(const Norm& norm, std::int64_t panel, const Scratch& scratch) {
  const bool skip = !norm.weight.defined();
  float *x = panel_of(residual_, panel), *packed = panel_of(packed_in_, panel);
  float* y = skip ? x : unpacked_rows(precision_, packed, 0, scratch.normed);
  if (!skip) normalize(spec_, norm, x, spec_.hidden, y);
  pack_rows(precision_, y, 0, spec_.hidden, spec_.hidden, packed);
}

// Keys (slots, head_dim) and values (head_dim, slots) of a panel's tiles, from this chunk or from the chain before it.
void Decoder::gather(std::int64_t layer, std::int64_t panel, std::int64_t kv_head, const Block& keys,
                     const Block& values) {
  const std::int64_t dim = spec_.head_dim, depth_stride = chain_values_.size(3);
  for (const KeyRun& run : chunk_->panels[panel].runs) {
    const std::int64_t kept = std::clamp<std::int64_t>(chunk_->first_row - run.row, 0, run.count);
    if (kept > 0) {
      const std::int64_t depth = plan_->depths[run.row];
      fill_block(keys, run.slot, 0, chain_of(chain_keys_, layer, kv_head) + depth * dim, dim, kept, dim);
      fill_block(values, 0, run.slot, chain_of(chain_values_, layer, kv_head) + depth, depth_stride, dim, kept);
    }
    if (kept < run.count) {
      copy_keys(key_rows_, value_, kv_head, run.row + kept - chunk_->first_row, run.count - kept, run.slot + kept, keys,
                values);
    }
  }
}

void Decoder::attend(std::int64_t layer, std::int64_t panel, std::int64_t kv_head) {
  const TileUse tiles(precision_);
  const Scratch scratch = scratches_.of_this_thread();
  const Panel& seen = chunk_->panels[panel];
  const std::int64_t dim = spec_.head_dim, slots = seen.num_tiles() * kTileSlots;
  const Block keys = make_keys(precision_, scratch, slots, dim);
  const Block values = make_block(precision_, dim, slots, scratch.values);
  gather(layer, panel, kv_head, keys, values);
  const bool capped = spec_.attention_cap > 0;
  for (std::int64_t h = kv_head * group(); h < (kv_head + 1) * group(); ++h) {
    score_keys(precision_, scratch, keys, panel_of(query_, panel) + h * dim * kColumns, dim, seen.halves.data(),
               [&](std::int64_t tile, float* scores) {
                 if (capped) soft_cap(scores, spec_.attention_scale, spec_.attention_cap, kTileSlots);
                 mask_scores(seen, spec_.windows[layer], tile, scores);
               });
    float *packed = panel_of(packed_mid_, panel), *out = unpacked_rows(precision_, packed, h * dim, scratch.tile);
    mix_values(precision_, scratch, values, slots, seen.halves.data(), capped ? 1.0F : spec_.attention_scale, out);
    pack_rows(precision_, out, h * dim, dim, spec_.num_heads * dim, packed);
  }
}

// Keeps keys and values of the chain of the next chunk's first row, as far as it lies in this chunk.
void Decoder::keep_chain(std::int64_t layer) {
  const std::int64_t next = chunk_->first_row + chunk_->num_panels() * kColumns, dim = spec_.head_dim;
  if (next >= plan_->num_tokens()) return;
  for (std::int64_t row = plan_->parents[next]; row >= chunk_->first_row; row = plan_->parents[row]) {
    const std::int64_t at = row - chunk_->first_row, depth = plan_->depths[row];
    for (std::int64_t g = 0; g < spec_.num_kv_heads; ++g) {
      std::memcpy(chain_of(chain_keys_, layer, g) + depth * dim, panel_of(key_rows_, g) + at * dim,
                  dim * sizeof(float));
      const float* value = panel_of(value_, at / kColumns) + g * dim * kColumns + at % kColumns;
      float* kept = chain_of(chain_values_, layer, g) + depth;
      for (std::int64_t d = 0; d < dim; ++d) kept[d * chain_values_.size(3)] = value[d * kColumns];
    }
  }
}

void Decoder::finish_layer(std::int64_t layer, std::int64_t begin, std::int64_t end) {
  const LayerWeights& w = weights_.layers[layer];
  const Share mine = share(begin, end);
  const TileUse tiles(precision_);
  if (spec_.parallel_residual) {
    for (std::int64_t p = begin; p < end; ++p) normalize_into(w.mlp_norm, p, mine.scratch);
  }
  join(mine, w.output, w.attention_out_norm);
  if (spec_.experts.in(layer)) return;
  if (!spec_.parallel_residual) {
    for (std::int64_t p = begin; p < end; ++p) normalize_into(w.mlp_norm, p, mine.scratch);
  }
  run_mlp(mine, spec_, w, packed_in_, packed_mid_);
  join(mine, w.down, w.mlp_out_norm);
}

void Decoder::run_experts(std::int64_t layer, const std::function<void()>& tick) {
  const LayerWeights& w = weights_.layers[layer];
  const std::int64_t panels = chunk_->num_panels();
  team_.each(panels, [&](std::int64_t p) {
    normalize(spec_, w.mlp_norm, panel_of(residual_, p), spec_.hidden, panel_of(joined_, p));
  });
  const std::int64_t rows = std::min(panels * kColumns, plan_->num_tokens() - chunk_->first_row);
  experts_.run(w, joined_, rows, residual_, tick);
}

// residual += matrix x packed_mid, normalized before it joins where there is a norm.
void Decoder::join(const Share& share, const Matrix& matrix, const Norm& norm) {
  if (!norm.weight.defined()) return add_product(share, matrix, packed_mid_, residual_, spec_.residual_scale);
  project(share, matrix, packed_mid_, joined_);
  for (std::int64_t p = share.begin; p < share.end; ++p) {
    normalize(spec_, norm, panel_of(joined_, p), spec_.hidden, share.scratch.normed);
    if (spec_.residual_scale != 1) scale(share.scratch.normed, spec_.residual_scale, spec_.hidden);
    add(panel_of(residual_, p), share.scratch.normed, spec_.hidden);
  }
}

}  // namespace syco
