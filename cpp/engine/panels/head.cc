#include "engine/panels/head.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace syco {
namespace {

constexpr std::int64_t kPanels = 4;
// Parts of the vocabulary that are summed apart and then in order, however many threads there are.
constexpr std::int64_t kSplits = 32;

}  // namespace

Head::Head(const Team& team, const Spec& spec, const Weights& weights, MatmulPrecision precision,
           std::vector<double>& log_probs, std::vector<std::uint8_t>& is_greedy)
    : team_(team),
      spec_(spec),
      weights_(weights),
      precision_(before_exponentials(precision)),
      log_probs_(log_probs),
      is_greedy_(is_greedy) {
  hidden_ = Workspace({kPanels, spec.hidden, kColumns});
  packed_ = Workspace({kPanels, packed_size(spec.hidden)});
  partial_ = Workspace({kSplits, kPanels, 2, kColumns});
  const std::int64_t floats = kBlockRows * kColumns + 2 * block_size(kBlockRows, spec.hidden);
  scratch_ = Workspace({team.size(), floats});
  hidden_.fill(0);
}

void Head::take(std::span<const Target> targets, const std::function<void(std::int64_t, float*)>& copy_hidden) {
  std::int64_t last = -1;
  for (const Target& target : targets) {
    if (target.row != last) {
      if (num_columns_ == kPanels * kColumns) flush();
      copy_hidden(target.row, panel_of(hidden_, num_columns_ / kColumns) + num_columns_ % kColumns);
      ++num_columns_;
      last = target.row;
    }
    wanted_.push_back({.token = target.token,
                       .column = static_cast<std::int32_t>(num_columns_ - 1),
                       .sequence = target.sequence,
                       .logit = 0.0F});
  }
}

void Head::flush() {
  if (num_columns_ == 0) return;
  const std::int64_t panels = (num_columns_ + kColumns - 1) / kColumns;
  for (std::int64_t p = 0; p < panels; ++p) {
    float* x = panel_of(hidden_, p);
    normalize(spec_, weights_.final_norm, x, spec_.hidden, x);
    if (spec_.head_scale != 1) scale(x, spec_.head_scale, spec_.hidden);
    pack_rows(precision_, x, 0, spec_.hidden, spec_.hidden, panel_of(packed_, p));
  }
  std::ranges::stable_sort(wanted_, {}, &Wanted::token);
  team_.each(kSplits, [&](std::int64_t split) { run_blocks(split); });
  // Back in the order of the rows: a sequence's tokens are added by position, whatever else is in the job.
  std::ranges::stable_sort(wanted_, {}, &Wanted::column);
  const auto part = [&](std::int64_t split, std::int64_t panel, std::int64_t which, std::int64_t column) {
    return panel_of(partial_, split)[(panel * 2 + which) * kColumns + column];
  };
  for (const Wanted& w : wanted_) {
    const std::int64_t p = w.column / kColumns, c = w.column % kColumns;
    double maximum = -std::numeric_limits<double>::infinity(), sum = 0;
    for (std::int64_t s = 0; s < kSplits; ++s) maximum = std::max<double>(maximum, part(s, p, 0, c));
    for (std::int64_t s = 0; s < kSplits; ++s) sum += part(s, p, 1, c) * std::exp(part(s, p, 0, c) - maximum);
    log_probs_[w.sequence] += w.logit - (maximum + std::log(sum));
    // The maximum passes over what is not a number; the sum does not.
    if (!(w.logit >= maximum) || std::isnan(sum)) is_greedy_[w.sequence] = 0;
  }
  wanted_.clear();
  num_columns_ = 0;
}

void Head::run_blocks(std::int64_t split) {
  const TileUse tiles(precision_);
  const Matrix& head = weights_.head;
  const std::int64_t panels = (num_columns_ + kColumns - 1) / kColumns, blocks = head.num_blocks();
  float* partial = panel_of(partial_, split);
  for (std::int64_t p = 0; p < panels; ++p) {
    std::fill_n(partial + p * 2 * kColumns, kColumns, -std::numeric_limits<float>::infinity());
    std::fill_n(partial + (p * 2 + 1) * kColumns, kColumns, 0.0F);
  }
  float* tile = panel_of(scratch_, Team::this_thread());
  float *factor = tile + kBlockRows * kColumns, *widened = factor + block_size(kBlockRows, spec_.hidden);
  for (std::int64_t b = split * blocks / kSplits; b < (split + 1) * blocks / kSplits; ++b) {
    const Block block = make_factor(precision_, head, b, factor, widened);
    for (std::int64_t p = 0; p < panels; ++p) {
      multiply_block(block, panel_of(packed_, p), spec_.hidden, tile);
      if (const float* bias = head.bias_of(b)) add_bias(tile, bias, block.rows);
      if (spec_.logit_cap > 0) soft_cap(tile, 1, spec_.logit_cap, block.rows);
      log_sum_exp_step(tile, block.rows, partial + p * 2 * kColumns, partial + (p * 2 + 1) * kColumns);
      pick(tile, b * kBlockRows, block.rows, p);
    }
  }
}

void Head::pick(const float* tile, std::int64_t first_token, std::int64_t rows, std::int64_t panel) {
  auto w = std::ranges::lower_bound(wanted_, first_token, {}, &Wanted::token);
  for (; w != wanted_.end() && w->token < first_token + rows; ++w) {
    if (w->column / kColumns == panel) w->logit = tile[(w->token - first_token) * kColumns + w->column % kColumns];
  }
}

}  // namespace syco
