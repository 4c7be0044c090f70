#include "engine/panels/expert_mlp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "engine/kernels/workspace.h"

namespace syco {

ExpertMlp::ExpertMlp(const Team& team, const Spec& spec, MatmulPrecision precision, std::int64_t max_panels)
    : team_(&team), spec_(spec), precision_(precision), groups_(spec.experts.count) {
  const Experts& experts = spec.experts;
  const std::int64_t seats = max_panels * kColumns * experts.chosen;
  // The last panel of each expert that has one may be filled in part.
  const std::int64_t panels =
      std::min(max_panels * experts.chosen + std::min(experts.count, seats), max_panels * experts.count);
  seats_.resize(seats);
  packed_in_ = Workspace({panels, packed_size(spec.hidden)});
  packed_mid_ = Workspace({panels, packed_size(experts.intermediate)});
  out_ = Workspace({panels, spec.hidden, kColumns});
  factor_size_ = block_size(kBlockRows, std::max(spec.hidden, experts.intermediate));
  const std::int64_t floats = 3 * factor_size_ + (2 * kBlockRows + experts.count + kBlockRows) * kColumns +
                              spec.hidden * kColumns + packed_size(spec.hidden);
  scratch_ = Workspace({team.size(), floats});
}

ExpertMlp::Scratch ExpertMlp::scratch_of_this_thread() const {
  float* memory = panel_of(scratch_, Team::this_thread());
  const auto take = [&](std::int64_t floats) { return std::exchange(memory, memory + floats); };
  Scratch s{};
  s.first_factor = take(factor_size_), s.second_factor = take(factor_size_), s.on_its_way = take(factor_size_);
  s.first_tile = take(kBlockRows * kColumns), s.second_tile = take(kBlockRows * kColumns);
  s.logits = take((spec_.experts.count + kBlockRows) * kColumns);
  s.panel = take(spec_.hidden * kColumns), s.packed = take(packed_size(spec_.hidden));
  return s;
}

void ExpertMlp::run(const LayerWeights& layer, const Workspace& from, std::int64_t rows, const Workspace& residual,
                    const std::function<void()>& tick) {
  const std::int64_t panels = (rows + kColumns - 1) / kColumns;
  route(layer, from, rows);
  seat(rows);
  const auto each = [&](std::int64_t blocks, const auto& step) {
    team_->each(spec_.experts.count * blocks, [&](std::int64_t i) {
      const TileUse tiles(precision_);
      if (!groups_[i / blocks].rows.empty()) step(layer.experts[i / blocks], groups_[i / blocks], i % blocks);
    });
    tick();
  };
  each(1, [&](const Expert&, const Group& group, std::int64_t) {
    for (std::int64_t p = 0; p < group.num_panels; ++p) gather(from, group, p);
  });
  each(layer.experts[0].up.num_blocks(),
       [&](const Expert& expert, const Group& group, std::int64_t block) { run_up(expert, group, block); });
  each(layer.experts[0].down.num_blocks(),
       [&](const Expert& expert, const Group& group, std::int64_t block) { run_down(expert, group, block); });
  team_->each(panels, [&](std::int64_t p) { mix(rows, p, residual); });
}

// The seats of each row, in float32 whatever the precision: which expert a token goes to is no matter of rounding.
void ExpertMlp::route(const LayerWeights& layer, const Workspace& from, std::int64_t rows) {
  constexpr auto kExact = MatmulPrecision::kHighest;
  const std::int64_t hidden = spec_.hidden, chosen = spec_.experts.chosen;
  team_->each((rows + kColumns - 1) / kColumns, [&](std::int64_t p) {
    const Scratch scratch = scratch_of_this_thread();
    pack_rows(kExact, panel_of(from, p), 0, hidden, hidden, scratch.packed);
    for (std::int64_t b = 0; b < layer.router.num_blocks(); ++b) {
      const Block block = make_factor(kExact, layer.router, b, scratch.first_factor, scratch.on_its_way);
      multiply_block(block, scratch.packed, hidden, scratch.logits + b * kBlockRows * kColumns);
    }
    for (std::int64_t c = 0; c < std::min(kColumns, rows - p * kColumns); ++c) {
      choose(scratch.logits, c, seats_.data() + (p * kColumns + c) * chosen);
    }
  });
}

// The likeliest experts of a column, with their probability, by number. A logit that is not a number is chosen before
// all others, so that no weight is a number and neither is what the column becomes.
void ExpertMlp::choose(const float* logits, std::int64_t column, Seat* seats) const {
  const auto logit = [&](std::int64_t expert) { return logits[expert * kColumns + column]; };
  const auto rank = [&](std::int64_t expert) {
    return std::isnan(logit(expert)) ? std::numeric_limits<float>::infinity() : logit(expert);
  };
  std::vector<std::int64_t> order(spec_.experts.count);
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + spec_.experts.chosen;
  std::partial_sort(order.begin(), end, order.end(),
                    [&](std::int64_t a, std::int64_t b) { return rank(a) > rank(b) || (rank(a) == rank(b) && a < b); });
  const double highest = logit(order[0]);
  double all = 0, taken = 0;
  for (std::int64_t e = 0; e < spec_.experts.count; ++e) all += std::exp(logit(e) - highest);
  for (auto e = order.begin(); e != end; ++e) taken += std::exp(logit(*e) - highest);
  std::sort(order.begin(), end);
  for (auto e = order.begin(); e != end; ++e) {
    const double weight = std::exp(logit(*e) - highest) / (spec_.experts.normalized ? taken : all);
    *seats++ = {.expert = *e, .column = 0, .weight = static_cast<float>(weight)};
  }
}

// Gives every seat its column among the panels of all experts, expert by expert.
void ExpertMlp::seat(std::int64_t rows) {
  const std::span<Seat> seats = std::span(seats_).first(rows * spec_.experts.chosen);
  for (Group& group : groups_) group.rows.clear();
  for (std::size_t i = 0; i < seats.size(); ++i) {
    Group& group = groups_[seats[i].expert];
    seats[i].column = std::ssize(group.rows);
    group.rows.push_back(static_cast<std::int64_t>(i) / spec_.experts.chosen);
  }
  std::int64_t panel = 0;
  for (Group& group : groups_) {
    group.first_panel = panel;
    group.num_panels = (std::ssize(group.rows) + kColumns - 1) / kColumns;
    panel += group.num_panels;
  }
  for (Seat& one : seats) one.column += groups_[one.expert].first_panel * kColumns;
}

void ExpertMlp::gather(const Workspace& from, const Group& group, std::int64_t panel) const {
  float* x = scratch_of_this_thread().panel;
  const std::int64_t hidden = spec_.hidden, first = panel * kColumns;
  for (std::int64_t c = 0; c < kColumns; ++c) {
    // Columns past the last row repeat it.
    const std::int64_t row = group.rows[std::min(first + c, std::ssize(group.rows) - 1)];
    const float* column = panel_of(from, row / kColumns) + row % kColumns;
    for (std::int64_t i = 0; i < hidden; ++i) x[i * kColumns + c] = column[i * kColumns];
  }
  pack_rows(precision_, x, 0, hidden, hidden, panel_of(packed_in_, group.first_panel + panel));
}

void ExpertMlp::run_up(const Expert& expert, const Group& group, std::int64_t block) const {
  const Scratch scratch = scratch_of_this_thread();
  float *tile = scratch.first_tile, *second = scratch.second_tile;
  const Block gate = make_factor(precision_, expert.gate, block, scratch.first_factor, scratch.on_its_way);
  const Block up = make_factor(precision_, expert.up, block, scratch.second_factor, scratch.on_its_way);
  for (std::int64_t p = group.first_panel; p < group.first_panel + group.num_panels; ++p) {
    multiply_block(gate, panel_of(packed_in_, p), spec_.hidden, tile);
    multiply_block(up, panel_of(packed_in_, p), spec_.hidden, second);
    activate(spec_.activation, tile, second, gate.rows);
    pack_rows(precision_, tile, block * kBlockRows, gate.rows, spec_.experts.intermediate, panel_of(packed_mid_, p));
  }
}

void ExpertMlp::run_down(const Expert& expert, const Group& group, std::int64_t block) const {
  const Scratch scratch = scratch_of_this_thread();
  const Block down = make_factor(precision_, expert.down, block, scratch.first_factor, scratch.on_its_way);
  for (std::int64_t p = group.first_panel; p < group.first_panel + group.num_panels; ++p) {
    multiply_block(down, panel_of(packed_mid_, p), spec_.experts.intermediate,
                   panel_of(out_, p) + block * kBlockRows * kColumns);
  }
}

void ExpertMlp::mix(std::int64_t rows, std::int64_t panel, const Workspace& residual) const {
  const std::int64_t chosen = spec_.experts.chosen;
  for (std::int64_t c = 0; c < std::min(kColumns, rows - panel * kColumns); ++c) {
    float* x = panel_of(residual, panel) + c;
    const Seat* seats = seats_.data() + (panel * kColumns + c) * chosen;
    for (const Seat& one : std::span(seats, chosen)) {
      const float* y = panel_of(out_, one.column / kColumns) + one.column % kColumns;
      for (std::int64_t i = 0; i < spec_.hidden; ++i) x[i * kColumns] += one.weight * y[i * kColumns];
    }
  }
}

}  // namespace syco
