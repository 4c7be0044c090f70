#include "engine/decoder.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace syco {
namespace {

// Floats, up to whole cache lines.
int64_t whole_lines(int64_t floats) { return (floats + 15) / 16 * 16; }

void activate(Activation activation, float* x, int64_t rows) {
  switch (activation) {
    case Activation::silu:
      return silu(x, rows);
    case Activation::gelu:
      return gelu(x, rows);
    case Activation::gelu_tanh:
      return gelu_tanh(x, rows);
    case Activation::relu:
      return relu(x, rows);
  }
}

}  // namespace

void normalize(const Spec& spec, const Norm& norm, const float* x, int64_t features, float* y) {
  const float* weight = norm.weight.const_data_ptr<float>();
  if (spec.norm == NormKind::layer) {
    const float* bias = norm.bias.defined() ? norm.bias.const_data_ptr<float>() : nullptr;
    layer_norm(x, weight, bias, spec.norm_epsilon, features, y);
  } else {
    rms_norm(x, weight, spec.norm == NormKind::rms_plus_one ? 1.0F : 0.0F, spec.norm_epsilon, features, y);
  }
}

void Decoder::begin(const Plan& plan, int64_t max_panels) {
  plan_ = &plan;
  const int64_t q = spec_.num_heads * spec_.head_dim, kv = spec_.num_kv_heads * spec_.head_dim;
  const int64_t widest = std::max({spec_.hidden, q, spec_.intermediate});
  const auto pairs = static_cast<int64_t>(spec_.inverse_frequencies.size());
  const int64_t p = max_panels, depth = std::max<int64_t>(plan.max_depth, 1);
  const auto floats = [](at::IntArrayRef shape) { return at::empty(shape, at::kFloat); };
  max_keys_ = (depth / kTileSlots + 1 + kColumns) * kTileSlots;
  residual_ = floats({p, spec_.hidden, kColumns});
  packed_in_ = floats({p, packed_size(spec_.hidden)});
  packed_mid_ = floats({p, packed_size(widest)});
  query_ = floats({p, q, kColumns});
  key_ = floats({p, kv, kColumns});
  value_ = floats({p, kv, kColumns});
  key_rows_ = floats({spec_.num_kv_heads, p * kColumns, spec_.head_dim});
  attended_ = floats({p, q, kColumns});
  if (spec_.norm_place == NormPlace::after) joined_ = floats({p, spec_.hidden, kColumns});
  cosine_ = floats({p, pairs, kColumns});
  sine_ = floats({p, pairs, kColumns});
  chain_keys_ = floats({spec_.num_layers, spec_.num_kv_heads, depth, spec_.head_dim});
  chain_values_ = floats({spec_.num_layers, spec_.num_kv_heads, spec_.head_dim, depth});
  scratch_ = floats({at::get_num_threads(), lay_scratch(nullptr, nullptr)});
}

// Lays one thread's scratch from `memory` on; returns its size in floats.
int64_t Decoder::lay_scratch(float* memory, Scratch* scratch) const {
  const int64_t q = spec_.num_heads * spec_.head_dim, widest = std::max({spec_.hidden, q, spec_.intermediate});
  const int64_t rows = std::max(kBlockRows, spec_.head_dim);  // of the largest block that any matrix has
  int64_t size = 0;
  const auto take = [&](float* Scratch::* part, int64_t floats) {
    if (scratch) scratch->*part = memory + size;
    size += whole_lines(floats);
  };
  take(&Scratch::block, 2 * scratch_size(widest, rows));
  take(&Scratch::tile, rows * kColumns);
  take(&Scratch::second_tile, rows * kColumns);
  take(&Scratch::normed, std::max(spec_.hidden, q) * kColumns);
  take(&Scratch::keys, block_size(max_keys_, spec_.head_dim));
  take(&Scratch::values, block_size(spec_.head_dim, max_keys_));
  take(&Scratch::query, packed_size(spec_.head_dim));
  take(&Scratch::scores, max_keys_ * kColumns);
  take(&Scratch::weights, packed_size(max_keys_));
  return size;
}

Decoder::Scratch Decoder::scratch_of_this_thread() {
  Scratch scratch;
  lay_scratch(scratch_.data_ptr<float>() + at::get_thread_num() * scratch_.stride(0), &scratch);
  return scratch;
}

void Decoder::run(const Chunk& chunk, const std::function<void()>& tick) {
  chunk_ = &chunk;
  const int64_t panels = chunk.num_panels();
  at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) embed(p);
  });
  for (int64_t layer = 0; layer < spec_.num_layers; ++layer) {
    at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) { read_inputs(layer, begin, end); });
    tick();
    at::parallel_for(0, panels * spec_.num_kv_heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) attend(layer, i / spec_.num_kv_heads, i % spec_.num_kv_heads);
      release_tiles(precision_);
    });
    keep_chain(layer);
    tick();
    at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) { finish_layer(layer, begin, end); });
    tick();
  }
}

void Decoder::copy_hidden(int64_t row, float* column) const {
  const int64_t at = row - chunk_->first_row;
  const float* x = residual_.const_data_ptr<float>() + at / kColumns * residual_.stride(0) + at % kColumns;
  for (int64_t i = 0; i < spec_.hidden; ++i) column[i * kColumns] = x[i * kColumns];
}

void Decoder::embed(int64_t panel) {
  float* x = panel_of(residual_, panel);
  const auto pairs = static_cast<int64_t>(spec_.inverse_frequencies.size());
  for (int64_t c = 0; c < kColumns; ++c) {
    const int64_t row = chunk_->first_row + panel * kColumns + c;
    const int64_t token = row < plan_->num_tokens() ? plan_->tokens[row] : 0;
    const int64_t depth = chunk_->panels[panel].depths[c];
    const float* e = weights_.embedding.const_data_ptr<float>() + token * spec_.hidden;
    for (int64_t i = 0; i < spec_.hidden; ++i) x[i * kColumns + c] = e[i] * spec_.embedding_scale;
    if (weights_.positions.defined()) {
      const float* position = weights_.positions.const_data_ptr<float>() + depth * spec_.hidden;
      for (int64_t i = 0; i < spec_.hidden; ++i) x[i * kColumns + c] += position[i];
    }
    for (int64_t i = 0; i < pairs; ++i) {
      const float angle = static_cast<float>(depth) * spec_.inverse_frequencies[i];
      panel_of(cosine_, panel)[i * kColumns + c] = std::cos(angle);
      panel_of(sine_, panel)[i * kColumns + c] = std::sin(angle);
    }
  }
}

void Decoder::read_inputs(int64_t layer, int64_t begin, int64_t end) {
  const LayerWeights& w = weights_.layers[layer];
  const Scratch scratch = scratch_of_this_thread();
  for (int64_t p = begin; p < end; ++p) {
    normalize_into(w.attention_norm, spec_.norm_place == NormPlace::after, p, scratch);
  }
  project(w.query, packed_in_, query_, begin, end);
  project(w.key, packed_in_, key_, begin, end);
  project(w.value, packed_in_, value_, begin, end);
  for (int64_t p = begin; p < end; ++p) {
    prepare_heads(w.query_norm, panel_of(query_, p), spec_.num_heads, p, scratch);
    prepare_heads(w.key_norm, panel_of(key_, p), spec_.num_kv_heads, p, scratch);
    for (int64_t g = 0; g < spec_.num_kv_heads; ++g) {
      transpose(panel_of(key_, p) + g * spec_.head_dim * kColumns, spec_.head_dim, kColumns,
                panel_of(key_rows_, g) + p * kColumns * spec_.head_dim, spec_.head_dim);
    }
  }
  release_tiles(precision_);
}

void Decoder::prepare_heads(const Norm& norm, float* heads, int64_t num_heads, int64_t panel, const Scratch& scratch) {
  const int64_t size = spec_.head_dim * kColumns;
  if (spec_.qk_norm == QkNorm::whole) {
    normalize(spec_, norm, heads, num_heads * spec_.head_dim, scratch.normed);
    std::memcpy(heads, scratch.normed, num_heads * size * sizeof(float));
  }
  for (int64_t h = 0; h < num_heads; ++h) {
    float* head = heads + h * size;
    if (spec_.qk_norm == QkNorm::head) {
      normalize(spec_, norm, head, spec_.head_dim, scratch.normed);
      std::memcpy(head, scratch.normed, size * sizeof(float));
    }
    rotate(head, panel_of(cosine_, panel), panel_of(sine_, panel),
           static_cast<int64_t>(spec_.inverse_frequencies.size()));
  }
}

void Decoder::normalize_into(const Norm& norm, bool skip, int64_t panel, const Scratch& scratch) {
  const float* x = panel_of(residual_, panel);
  if (!skip) normalize(spec_, norm, x, spec_.hidden, scratch.normed);
  pack_rows(precision_, skip ? x : scratch.normed, 0, spec_.hidden, spec_.hidden, panel_of(packed_in_, panel));
}

// to = matrix x from + bias, block by block, each over all panels while the block is in cache.
void Decoder::project(const Matrix& matrix, const at::Tensor& from, at::Tensor& to, int64_t begin, int64_t end) {
  const Scratch scratch = scratch_of_this_thread();
  for (int64_t b = 0; b < matrix.num_blocks(); ++b) {
    const Block block = prepare_block(precision_, matrix, b, scratch.block);
    for (int64_t p = begin; p < end; ++p) {
      float* out = panel_of(to, p) + b * matrix.block_rows * kColumns;
      multiply_block(precision_, block, from.const_data_ptr<float>() + p * from.stride(0), out);
      if (const float* bias = matrix.bias_of(b)) add_bias(out, bias, block.rows);
    }
  }
}

// Keys (slots, head_dim) and values (head_dim, slots) of a panel's tiles, from this chunk or from the chain before it.
void Decoder::gather(int64_t layer, int64_t panel, int64_t kv_head, const Block& keys, const Block& values) {
  const int64_t dim = spec_.head_dim, depth_stride = chain_values_.size(3);
  const float* own_keys = panel_of(key_rows_, kv_head);
  const auto copy = [&](int64_t slot, int64_t count, const float* key, const float* value, int64_t value_stride) {
    fill_block(keys, slot, 0, key, dim, count, dim);
    fill_block(values, 0, slot, value, value_stride, dim, count);
  };
  for (KeyRun run : chunk_->panels[panel].runs) {
    const int64_t kept = std::clamp<int64_t>(chunk_->first_row - run.row, 0, run.count);
    if (kept > 0) {
      const int64_t depth = plan_->depths[run.row];
      copy(run.slot, kept, chain_of(chain_keys_, layer, kv_head) + depth * dim,
           chain_of(chain_values_, layer, kv_head) + depth, depth_stride);
    }
    for (int64_t done = kept; done < run.count;) {
      const int64_t row = run.row + done - chunk_->first_row, column = row % kColumns;
      const int64_t count = std::min(run.count - done, kColumns - column);
      copy(run.slot + done, count, own_keys + row * dim,
           panel_of(value_, row / kColumns) + kv_head * dim * kColumns + column, kColumns);
      done += count;
    }
  }
}

// Hides what a column does not see: other branches, its future, and what lies before its window.
void Decoder::mask(const Panel& panel, int64_t window, float* scores) const {
  std::array<int32_t, kColumns> low{};
  for (int64_t t = 0; t < panel.num_tiles(); ++t) {
    const int32_t* seen = panel.seen.data() + t * kColumns;
    if (window > 0) {
      for (int64_t c = 0; c < kColumns; ++c) {
        low[c] = panel.depths[c] - static_cast<int32_t>(window) + 1 - panel.tile_depths[t];
      }
    } else if (std::all_of(seen, seen + kColumns, [](int32_t count) { return count == kTileSlots; })) {
      continue;
    }
    mask_rows(scores + t * kTileSlots * kColumns, low.data(), seen, kTileSlots);
  }
}

void Decoder::attend(int64_t layer, int64_t panel, int64_t kv_head) {
  const Scratch scratch = scratch_of_this_thread();
  const Panel& seen = chunk_->panels[panel];
  const int64_t dim = spec_.head_dim, slots = seen.num_tiles() * kTileSlots;
  const Block keys = make_block(precision_, slots, dim, scratch.keys);
  const Block values = make_block(precision_, dim, slots, scratch.values);
  gather(layer, panel, kv_head, keys, values);
  const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
  for (int64_t h = kv_head * group(); h < (kv_head + 1) * group(); ++h) {
    pack_rows(precision_, panel_of(query_, panel) + h * dim * kColumns, 0, dim, dim, scratch.query);
    for (int64_t k = 0; k < slots; k += kTileSlots) {
      multiply_block(precision_, rows_of(keys, k, kTileSlots), scratch.query, scratch.scores + k * kColumns);
    }
    mask(seen, spec_.windows[layer], scratch.scores);
    std::array<float, kColumns> inverse_sum;
    softmax_rows(scratch.scores, scale, slots, inverse_sum.data());
    pack_rows(precision_, scratch.scores, 0, slots, slots, scratch.weights);
    float* out = panel_of(attended_, panel) + h * dim * kColumns;
    multiply_block(precision_, values, scratch.weights, out);
    scale_columns(out, inverse_sum.data(), dim);
  }
}

// Keeps keys and values of the chain of the next chunk's first row, as far as it lies in this chunk.
void Decoder::keep_chain(int64_t layer) {
  const int64_t next = chunk_->first_row + chunk_->num_panels() * kColumns, dim = spec_.head_dim;
  if (next >= plan_->num_tokens()) return;
  for (int64_t row = plan_->parents[next]; row >= chunk_->first_row; row = plan_->parents[row]) {
    const int64_t at = row - chunk_->first_row, depth = plan_->depths[row];
    for (int64_t g = 0; g < spec_.num_kv_heads; ++g) {
      std::memcpy(chain_of(chain_keys_, layer, g) + depth * dim, panel_of(key_rows_, g) + at * dim,
                  dim * sizeof(float));
      const float* value = panel_of(value_, at / kColumns) + g * dim * kColumns + at % kColumns;
      float* kept = chain_of(chain_values_, layer, g) + depth;
      for (int64_t d = 0; d < dim; ++d) kept[d * chain_values_.size(3)] = value[d * kColumns];
    }
  }
}

void Decoder::finish_layer(int64_t layer, int64_t begin, int64_t end) {
  const LayerWeights& w = weights_.layers[layer];
  const Scratch scratch = scratch_of_this_thread();
  const bool after = spec_.norm_place == NormPlace::after;
  const int64_t q = spec_.num_heads * spec_.head_dim;
  if (spec_.parallel_residual) {
    for (int64_t p = begin; p < end; ++p) normalize_into(w.mlp_norm, false, p, scratch);
  }
  for (int64_t p = begin; p < end; ++p)
    pack_rows(precision_, panel_of(attended_, p), 0, q, q, panel_of(packed_mid_, p));
  join(w.output, after ? &w.attention_norm : nullptr, begin, end);
  if (!spec_.parallel_residual) {
    for (int64_t p = begin; p < end; ++p) normalize_into(w.mlp_norm, after, p, scratch);
  }
  run_mlp(w, begin, end);
  join(w.down, after ? &w.mlp_norm : nullptr, begin, end);
  release_tiles(precision_);
}

// packed_mid = act(gate) * up, or act(up).
void Decoder::run_mlp(const LayerWeights& w, int64_t begin, int64_t end) {
  const Scratch scratch = scratch_of_this_thread();
  const Matrix& first = spec_.gated ? w.gate : w.up;
  const int64_t half = scratch_size(spec_.hidden, kBlockRows);
  for (int64_t b = 0; b < first.num_blocks(); ++b) {
    const Block block = prepare_block(precision_, first, b, scratch.block);
    const Block up = spec_.gated ? prepare_block(precision_, w.up, b, scratch.block + half) : Block{};
    for (int64_t p = begin; p < end; ++p) {
      multiply_block(precision_, block, panel_of(packed_in_, p), scratch.tile);
      if (const float* bias = first.bias_of(b)) add_bias(scratch.tile, bias, block.rows);
      activate(spec_.activation, scratch.tile, block.rows);
      if (spec_.gated) {
        multiply_block(precision_, up, panel_of(packed_in_, p), scratch.second_tile);
        if (const float* bias = w.up.bias_of(b)) add_bias(scratch.second_tile, bias, up.rows);
        multiply(scratch.tile, scratch.second_tile, block.rows);
      }
      pack_rows(precision_, scratch.tile, b * kBlockRows, block.rows, spec_.intermediate, panel_of(packed_mid_, p));
    }
  }
}

// residual += matrix x packed_mid, normalized before it joins where `norm` is given.
void Decoder::join(const Matrix& matrix, const Norm* norm, int64_t begin, int64_t end) {
  const Scratch scratch = scratch_of_this_thread();
  if (norm) {
    project(matrix, packed_mid_, joined_, begin, end);
    for (int64_t p = begin; p < end; ++p) {
      normalize(spec_, *norm, panel_of(joined_, p), spec_.hidden, scratch.normed);
      add(panel_of(residual_, p), scratch.normed, spec_.hidden);
    }
    return;
  }
  for (int64_t b = 0; b < matrix.num_blocks(); ++b) {
    const Block block = prepare_block(precision_, matrix, b, scratch.block);
    for (int64_t p = begin; p < end; ++p) {
      multiply_block(precision_, block, panel_of(packed_mid_, p), scratch.tile);
      if (const float* bias = matrix.bias_of(b)) add_bias(scratch.tile, bias, block.rows);
      add(panel_of(residual_, p) + b * matrix.block_rows * kColumns, scratch.tile, block.rows);
    }
  }
}

}  // namespace syco
