#include "core/plan/trie.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "core/base/errors.h"

namespace syco {
namespace {

std::span<const std::int32_t> sequence(const Sequences& s, std::size_t i) {
  return s.tokens.subspan(s.offsets[i], s.offsets[i + 1] - s.offsets[i]);
}

// Sequences in lexicographic order of what is run, so that all that share a beginning are neighbours.
std::vector<std::size_t> sorted_order(const Sequences& s) {
  std::vector<std::size_t> order(s.num_context.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    const auto x = sequence(s, a), y = sequence(s, b);
    return std::lexicographical_compare(x.begin(), x.end() - 1, y.begin(), y.end() - 1);
  });
  return order;
}

}  // namespace

void check_sequences(const Sequences& s) {
  const std::size_t count = s.num_context.size();
  require(s.offsets.size() == count + 1 && s.offsets.front() == 0 && s.offsets.back() == std::ssize(s.tokens),
          "plan: offsets must run from 0 to the number of tokens, one more than there are sequences");
  for (std::size_t i = 0; i < count; ++i) {
    // Compared before they are subtracted: a difference of offsets of any sign could run round.
    require(s.offsets[i] >= 0 && s.offsets[i + 1] >= s.offsets[i] && s.offsets[i + 1] <= s.offsets.back(),
            "plan: offsets must rise from 0 to the number of tokens, got " + std::to_string(s.offsets[i + 1]) +
                " after " + std::to_string(s.offsets[i]));
    const std::int64_t length = s.offsets[i + 1] - s.offsets[i];
    require(s.num_context[i] >= 1 && s.num_context[i] < length,
            "plan: sequence " + std::to_string(i) + " of " + std::to_string(length) +
                " tokens needs at least one token of context and one to score, got num_context " +
                std::to_string(s.num_context[i]));
  }
}

Plan make_plan(const Sequences& sequences) {
  check_sequences(sequences);
  Plan plan;
  std::vector<std::int64_t> chain;  // row of the current sequence at each depth
  for (const std::size_t i : sorted_order(sequences)) {
    const auto tokens = sequence(sequences, i);
    const auto inputs = tokens.first(tokens.size() - 1);
    std::size_t shared = 0;
    while (shared < std::min(chain.size(), inputs.size()) && plan.tokens[chain[shared]] == inputs[shared]) ++shared;
    chain.resize(shared);
    for (std::size_t depth = shared; depth < inputs.size(); ++depth) {
      plan.parents.push_back(chain.empty() ? -1 : chain.back());
      chain.push_back(plan.num_tokens());
      plan.tokens.push_back(inputs[depth]);
      plan.depths.push_back(static_cast<std::int32_t>(depth));
    }
    for (std::size_t j = sequences.num_context[i]; j < tokens.size(); ++j) {
      plan.targets.push_back({chain[j - 1], tokens[j], static_cast<std::int32_t>(i)});
    }
    plan.num_tokens_unshared += static_cast<std::int64_t>(inputs.size());
    plan.max_depth = std::max(plan.max_depth, static_cast<std::int32_t>(inputs.size()));
  }
  std::ranges::stable_sort(plan.targets, {}, &Target::row);
  return plan;
}

namespace {

// Fills a panel's tiles, row by row.
class Tiler {
 public:
  Tiler(const Plan& plan, std::int64_t first_row, std::int64_t num_columns)
      : plan_(plan), first_row_(first_row), tile_of_(num_columns, -1) {
    panel_.depths.assign(num_columns, 0);
  }

  // The rows before the panel that lead to its first row.
  void add_path() {
    std::vector<std::int64_t> path;
    for (std::int64_t row = plan_.parents[first_row_]; row >= 0; row = plan_.parents[row]) path.push_back(row);
    std::ranges::reverse(path);
    for (const std::int64_t row : path) place(row, num_tiles() - 1);
  }

  void add_column(std::int64_t column) {
    const std::int64_t row = first_row_ + column;
    if (row >= plan_.num_tokens()) {
      tile_of_[column] = open_tile(0, -1);
      slots_[tile_of_[column]].push_back(first_row_);  // any finite key will do
      return;
    }
    const std::int64_t parent = plan_.parents[row];
    const std::int32_t before = parent < 0            ? -1
                                : parent < first_row_ ? plan_.depths[parent] / kTileSlots
                                                      : tile_of_[parent - first_row_];
    panel_.depths[column] = plan_.depths[row];
    tile_of_[column] = place(row, before);
  }

  Panel finish() {
    const std::size_t columns = tile_of_.size();
    panel_.seen.assign(slots_.size() * columns, 0);
    panel_.halves.assign(slots_.size(), 0);
    for (std::size_t c = 0; c < columns; ++c) {
      std::int32_t count = panel_.depths[c] % kTileSlots + 1;
      for (std::int32_t tile = tile_of_[c]; tile >= 0; tile = previous_[tile]) {
        panel_.seen[tile * columns + c] = std::exchange(count, kTileSlots);
        panel_.halves[tile] |= 2 * c < columns ? 1 : 2;
      }
    }
    for (std::int32_t tile = 0; tile < num_tiles(); ++tile) add_runs(tile);
    return std::move(panel_);
  }

 private:
  std::int32_t num_tiles() const { return static_cast<std::int32_t>(slots_.size()); }

  std::int32_t open_tile(std::int32_t depth, std::int32_t previous) {
    slots_.emplace_back();
    previous_.push_back(previous);
    panel_.tile_depths.push_back(depth);
    return num_tiles() - 1;
  }

  // Puts a row behind its parent, which stands in tile `before`; returns the row's tile.
  std::int32_t place(std::int64_t row, std::int32_t before) {
    const std::int32_t slot = plan_.depths[row] % kTileSlots;
    std::int32_t tile = before;
    if (slot == 0) {
      tile = open_tile(plan_.depths[row], before);
    } else if (std::ssize(slots_[before]) != slot) {  // another branch has taken the place
      tile = open_tile(panel_.tile_depths[before], previous_[before]);
      slots_[tile].assign(slots_[before].begin(), slots_[before].begin() + slot);
    }
    slots_[tile].push_back(row);
    return tile;
  }

  void add_runs(std::int32_t tile) {
    const std::vector<std::int64_t>& rows = slots_[tile];
    for (std::int32_t i = 0; i < std::ssize(rows); ++i) {
      if (i > 0 && rows[i] == rows[i - 1] + 1) {
        ++panel_.runs.back().count;
      } else {
        panel_.runs.push_back({tile * kTileSlots + i, 1, rows[i]});
      }
    }
  }

  const Plan& plan_;
  std::int64_t first_row_;
  std::vector<std::vector<std::int64_t>> slots_;  // rows of each tile
  std::vector<std::int32_t> previous_;            // tile of the 32 depths before, or -1
  std::vector<std::int32_t> tile_of_;             // of each column
  Panel panel_;
};

}  // namespace

Panel make_panel(const Plan& plan, std::int64_t first_row, std::int64_t num_columns) {
  Tiler tiler(plan, first_row, num_columns);
  tiler.add_path();
  for (std::int64_t c = 0; c < num_columns; ++c) tiler.add_column(c);
  return tiler.finish();
}

}  // namespace syco
