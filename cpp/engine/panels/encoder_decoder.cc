#include "engine/panels/encoder_decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/kernels/workspace.h"

namespace syco {
namespace {

std::int64_t panels_for(std::int64_t rows) { return (rows + kColumns - 1) / kColumns; }
std::int64_t whole_tiles(std::int64_t rows) { return (rows + kTileSlots - 1) / kTileSlots * kTileSlots; }

// Raffel et al. 2020, section 2.1: near distances have a bucket each, far ones share buckets that grow by a constant
// factor. In float32, as transformers computes it.
std::int64_t bucket_of(std::int64_t key_minus_query, bool both_ways, std::int64_t num_buckets,
                       std::int64_t max_distance) {
  std::int64_t first = 0, distance = std::max<std::int64_t>(-key_minus_query, 0);
  if (both_ways) {
    num_buckets /= 2;
    if (key_minus_query > 0) first = num_buckets;
    distance = std::abs(key_minus_query);
  }
  const std::int64_t exact = num_buckets / 2;
  if (distance < exact) return first + distance;
  const auto range = static_cast<float>(std::log(static_cast<double>(max_distance) / static_cast<double>(exact)));
  const float part = std::log(static_cast<float>(distance) / static_cast<float>(exact)) / range;
  const auto far = exact + static_cast<std::int64_t>(part * static_cast<float>(num_buckets - exact));
  return first + std::min(far, num_buckets - 1);
}

// What is added to a score, (heads, 2 * reach), by query - key + reach.
Workspace spread_distances(const Weight& buckets, bool both_ways, std::int64_t max_distance, std::int64_t reach) {
  const std::int64_t num_buckets = buckets.size(0), heads = buckets.size(1);
  Workspace spread({heads, 2 * reach});
  for (std::int64_t i = 0; i < 2 * reach; ++i) {
    const std::int64_t bucket = bucket_of(reach - i, both_ways, num_buckets, max_distance);
    for (std::int64_t h = 0; h < heads; ++h) panel_of(spread, h)[i] = buckets.floats()[bucket * heads + h];
  }
  return spread;
}

Matrices matrices_of(const LayerWeights& layer, const CrossWeights& cross) {
  Matrices all = syco::matrices_of(layer);
  all.insert(all.end(), {&cross.query, &cross.key, &cross.value, &cross.output});
  return all;
}

// Columns of `rows` of one head, side by side, (head_dim, 64); and back.
template <typename Copy>
void each_run(const Workspace& panels, std::int64_t head, std::int64_t dim, Rows rows, const Copy& copy) {
  for (std::int64_t done = 0; done < rows.count;) {
    const std::int64_t row = rows.first + done, part = std::min(rows.count - done, kColumns - row % kColumns);
    float* from = panel_of(panels, row / kColumns) + head * dim * kColumns + row % kColumns;
    for (std::int64_t d = 0; d < dim; ++d) copy(from + d * kColumns, d * kColumns + done, part * sizeof(float));
    done += part;
  }
}

}  // namespace

Stack EncoderDecoder::make_stack(std::int64_t panels) const {
  const Spec& s = sizes();
  const std::int64_t q = s.num_heads * s.head_dim;
  Workspace attended({panels, q, kColumns});
  attended.fill(0);  // columns past the last row are read, not written
  return {.residual = Workspace({panels, s.hidden, kColumns}),
          .packed_in = Workspace({panels, packed_size(s.hidden)}),
          .packed_mid = Workspace({panels, packed_size(std::max(q, s.intermediate))}),
          .query = Workspace({panels, q, kColumns}),
          .attended = std::move(attended),
          .own = make_keys_values(panels)};
}

KeysValues EncoderDecoder::make_keys_values(std::int64_t panels) const {
  const Spec& s = sizes();
  const std::int64_t q = s.num_heads * s.head_dim;
  return {.key = Workspace({panels, q, kColumns}),
          .value = Workspace({panels, q, kColumns}),
          .key_rows = Workspace({s.num_heads, panels * kColumns, s.head_dim})};
}

void EncoderDecoder::begin(std::span<const ContextBatch> batches, std::int64_t max_tokens) {
  max_tokens_ = max_tokens;
  std::int64_t encoder = 0, memory = 0, decoder = 0, longest = 1, depth = 1;
  for (const ContextBatch& batch : batches) {
    std::int64_t panels = 0;
    for (const auto piece : cut_contexts(batch.contexts, max_tokens)) {
      encoder = std::max(encoder, panels_for(count_tokens(piece)));
      panels += panels_for(count_tokens(piece));
    }
    for (const Context& context : batch.contexts) longest = std::max<std::int64_t>(longest, std::ssize(context.tokens));
    memory = std::max(memory, panels);
    decoder = std::max(decoder, panels_for(batch.decoder.plan.num_tokens()));
    depth = std::max<std::int64_t>(depth, batch.decoder.plan.max_depth);
  }
  encoder_ = make_stack(encoder);
  decoder_ = make_stack(decoder);
  memory_ = Workspace({memory, packed_size(sizes().hidden)});
  remembered_ = make_keys_values(memory);
  encoder_distances_ =
      spread_distances(weights_.encoder_distances, true, spec_.max_distance, panels_for(longest) * kColumns);
  decoder_distances_ = spread_distances(weights_.decoder_distances, false, spec_.max_distance, whole_tiles(depth));
  std::vector<Matrices> layers;
  layers.reserve(weights_.encoder_layers.size() + weights_.cross.size());
  for (const LayerWeights& layer : weights_.encoder_layers) layers.push_back(matrices_of(layer));
  for (std::size_t i = 0; i < weights_.cross.size(); ++i) {
    layers.push_back(matrices_of(weights_.decoder.layers[i], weights_.cross[i]));
  }
  factors_ = Factors(team_, precision_, layers);
  const std::int64_t tree_slots = (depth / kTileSlots + 1 + kColumns) * kTileSlots;
  scratches_ = Scratches(sizes(), team_.size(), std::max(tree_slots, whole_tiles(longest)),
                         own_factors_size(precision_, layers));
}

void EncoderDecoder::run(const ContextBatch& batch, const std::function<void(std::int64_t)>& tick) {
  std::int64_t done = 0;
  memory_panels_ = 0;
  places_.clear();
  for (const auto piece : cut_contexts(batch.contexts, max_tokens_)) {
    encode(piece, memory_panels_, [&] { tick(done); });
    memory_panels_ += encoder_.num_panels;
    done += count_tokens(piece);
  }
  decode(batch.decoder, [&] { tick(done); });
}

void EncoderDecoder::copy_hidden(std::int64_t row, float* column) const {
  const float* x = panel_of(decoder_.residual, row / kColumns) + row % kColumns;
  for (std::int64_t i = 0; i < sizes().hidden; ++i) column[i * kColumns] = x[i * kColumns];
}

template <typename Step>
void EncoderDecoder::each_share(std::int64_t panels, const Step& step) const {
  team_.shares(panels, kPanelsAShare, [&](std::int64_t begin, std::int64_t end) {
    const TileUse tiles(precision_);
    step(Share{precision_, factors_, scratches_.of_this_thread(), begin, end});
  });
}

void EncoderDecoder::embed(Stack& stack, std::span<const std::int32_t> tokens) const {
  const std::int64_t hidden = sizes().hidden;
  stack.num_panels = panels_for(std::ssize(tokens));
  team_.shares(stack.num_panels * kColumns, kColumns, [&](std::int64_t begin, std::int64_t end) {
    float* e = scratches_.of_this_thread().normed;
    for (std::int64_t row = begin; row < end; ++row) {
      read_numbers(weights_.decoder.embedding, (row < std::ssize(tokens) ? tokens[row] : 0) * hidden, hidden, e);
      float* x = panel_of(stack.residual, row / kColumns) + row % kColumns;
      for (std::int64_t i = 0; i < hidden; ++i) x[i * kColumns] = e[i];
    }
  });
}

// Contexts side by side; what comes out is the memory's panels from `first_panel` on.
void EncoderDecoder::encode(std::span<const Context> contexts, std::int64_t first_panel,
                            const std::function<void()>& tick) {
  std::vector<std::int32_t> tokens;
  std::vector<Rows> rows;
  for (const Context& context : contexts) {
    rows.push_back({std::ssize(tokens), std::ssize(context.tokens)});
    places_.push_back({first_panel * kColumns + std::ssize(tokens), std::ssize(context.tokens)});
    tokens.insert(tokens.end(), context.tokens.begin(), context.tokens.end());
  }
  embed(encoder_, tokens);
  const std::int64_t heads = sizes().num_heads;
  for (const LayerWeights& layer : weights_.encoder_layers) {
    factors_.prepare(matrices_of(layer));
    each_share(encoder_.num_panels, [&](const Share& share) { read(share, layer, encoder_); });
    tick();
    each_share(std::ssize(rows) * heads, [&](const Share& share) {
      for (std::int64_t i = share.begin; i < share.end; ++i) {
        attend_context(encoder_.own, rows[i / heads], encoder_, rows[i / heads], i % heads,
                       panel_of(encoder_distances_, i % heads) + encoder_distances_.size(1) / 2);
      }
    });
    tick();
    each_share(encoder_.num_panels, [&](const Share& share) {
      join_attended(share, layer.output, encoder_);
      join_mlp(share, layer, encoder_);
    });
    tick();
  }
  const std::int64_t hidden = sizes().hidden;
  each_share(encoder_.num_panels, [&](const Share& share) {
    for (std::int64_t p = share.begin; p < share.end; ++p) {
      normalize(sizes(), weights_.encoder_norm, panel_of(encoder_.residual, p), hidden, share.scratch.normed);
      pack_rows(precision_, share.scratch.normed, 0, hidden, hidden, panel_of(memory_, first_panel + p));
    }
  });
}

void EncoderDecoder::decode(const DecoderPlan& decoder, const std::function<void()>& tick) {
  const Plan& plan = decoder.plan;
  std::vector<Panel> panels;
  for (std::int64_t row = 0; row < plan.num_tokens(); row += kColumns)
    panels.push_back(make_panel(plan, row, kColumns));
  embed(decoder_, plan.tokens);
  const std::int64_t heads = sizes().num_heads;
  for (std::size_t i = 0; i < weights_.decoder.layers.size(); ++i) {
    const LayerWeights& layer = weights_.decoder.layers[i];
    const CrossWeights& cross = weights_.cross[i];
    factors_.prepare(matrices_of(layer, cross));
    each_share(decoder_.num_panels, [&](const Share& share) { read(share, layer, decoder_); });
    tick();
    each_share(decoder_.num_panels * heads, [&](const Share& share) {
      for (std::int64_t j = share.begin; j < share.end; ++j) attend_tree(panels[j / heads], j / heads, j % heads);
    });
    tick();
    each_share(decoder_.num_panels, [&](const Share& share) {
      join_attended(share, layer.output, decoder_);
      normalize_into(share, cross.norm, decoder_);
      project(share, cross.query, decoder_.packed_in, decoder_.query);
    });
    remember(cross);
    tick();
    each_share(std::ssize(places_) * heads, [&](const Share& share) {
      for (std::int64_t j = share.begin; j < share.end; ++j) {
        const std::int64_t c = j / heads, first = decoder.first_rows[c];
        attend_context(remembered_, places_[c], decoder_, {first, decoder.first_rows[c + 1] - first}, j % heads,
                       nullptr);
      }
    });
    tick();
    each_share(decoder_.num_panels, [&](const Share& share) {
      join_attended(share, cross.output, decoder_);
      join_mlp(share, layer, decoder_);
    });
    tick();
  }
}

// Keys and values of the memory, for a layer of the decoder.
void EncoderDecoder::remember(const CrossWeights& cross) {
  each_share(memory_panels_, [&](const Share& share) {
    project(share, cross.key, memory_, remembered_.key);
    project(share, cross.value, memory_, remembered_.value);
    turn_keys(share, remembered_.key, remembered_.key_rows);
  });
}

// packed_in = norm(residual).
void EncoderDecoder::normalize_into(const Share& share, const Norm& norm, const Stack& stack) const {
  const std::int64_t hidden = sizes().hidden;
  for (std::int64_t p = share.begin; p < share.end; ++p) {
    normalize(sizes(), norm, panel_of(stack.residual, p), hidden, share.scratch.normed);
    pack_rows(precision_, share.scratch.normed, 0, hidden, hidden, panel_of(stack.packed_in, p));
  }
}

void EncoderDecoder::read(const Share& share, const LayerWeights& layer, const Stack& stack) const {
  normalize_into(share, layer.attention_norm, stack);
  project(share, layer.query, stack.packed_in, stack.query);
  project(share, layer.key, stack.packed_in, stack.own.key);
  project(share, layer.value, stack.packed_in, stack.own.value);
  turn_keys(share, stack.own.key, stack.own.key_rows);
}

// residual += output x attended.
void EncoderDecoder::join_attended(const Share& share, const Matrix& output, const Stack& stack) const {
  for (std::int64_t p = share.begin; p < share.end; ++p) {
    pack_rows(precision_, panel_of(stack.attended, p), 0, output.columns, output.columns,
              panel_of(stack.packed_mid, p));
  }
  add_product(share, output, stack.packed_mid, stack.residual);
}

// residual += mlp(norm(residual)).
void EncoderDecoder::join_mlp(const Share& share, const LayerWeights& layer, const Stack& stack) const {
  normalize_into(share, layer.mlp_norm, stack);
  run_mlp(share, sizes(), layer, stack.packed_in, stack.packed_mid);
  add_product(share, layer.down, stack.packed_mid, stack.residual);
}

// A panel of the decoder attends to the chains of its trees.
void EncoderDecoder::attend_tree(const Panel& panel, std::int64_t index, std::int64_t head) const {
  const Scratch scratch = scratches_.of_this_thread();
  const std::int64_t dim = sizes().head_dim, slots = panel.num_tiles() * kTileSlots;
  const Block keys = make_keys(precision_, scratch, slots, dim);
  const Block values = make_block(precision_, dim, slots, scratch.values);
  for (const KeyRun& run : panel.runs) {
    copy_keys(decoder_.own.key_rows, decoder_.own.value, head, run.row, run.count, run.slot, keys, values);
  }
  const float* distances = panel_of(decoder_distances_, head) + decoder_distances_.size(1) / 2;
  score_keys(precision_, scratch, keys, panel_of(decoder_.query, index) + head * dim * kColumns, dim,
             panel.halves.data(), [&](std::int64_t tile, float* scores) {
               add_distances(scores, distances, panel.depths.data(), panel.tile_depths[tile], kTileSlots);
               mask_scores(panel, 0, tile, scores);
             });
  mix_values(precision_, scratch, values, slots, panel.halves.data(), 1.0F,
             panel_of(decoder_.attended, index) + head * dim * kColumns);
}

// Rows `queries` of a stack attend to all rows `rows` of `from`; `distances` may be null.
void EncoderDecoder::attend_context(const KeysValues& from, Rows rows, const Stack& stack, Rows queries,
                                    std::int64_t head, const float* distances) const {
  const Scratch scratch = scratches_.of_this_thread();
  const std::int64_t dim = sizes().head_dim, slots = whole_tiles(rows.count);
  const Block keys = make_keys(precision_, scratch, slots, dim);
  const Block values = make_block(precision_, dim, slots, scratch.values);
  copy_keys(from.key_rows, from.value, head, rows.first, rows.count, 0, keys, values);
  std::array<std::int32_t, kColumns> depths;
  for (std::int64_t done = 0; done < queries.count; done += kColumns) {
    const Rows part{queries.first + done, std::min(queries.count - done, kColumns)};
    std::memset(scratch.normed, 0, dim * kColumns * sizeof(float));
    each_run(stack.query, head, dim, part, [&](const float* column, std::int64_t at, std::size_t bytes) {
      std::memcpy(scratch.normed + at, column, bytes);
    });
    std::iota(depths.begin(), depths.end(), static_cast<std::int32_t>(done));
    score_keys(precision_, scratch, keys, scratch.normed, dim, nullptr, [&](std::int64_t tile, float* scores) {
      const std::int64_t first = tile * kTileSlots, count = std::min<std::int64_t>(rows.count - first, kTileSlots);
      if (distances) add_distances(scores, distances, depths.data(), static_cast<std::int32_t>(first), count);
      std::fill(scores + count * kColumns, scores + kTileSlots * kColumns, -std::numeric_limits<float>::infinity());
    });
    mix_values(precision_, scratch, values, slots, nullptr, 1.0F, scratch.tile);
    each_run(stack.attended, head, dim, part,
             [&](float* column, std::int64_t at, std::size_t bytes) { std::memcpy(column, scratch.tile + at, bytes); });
  }
}

}  // namespace syco
