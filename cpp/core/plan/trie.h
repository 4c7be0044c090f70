// Token sequences -> a plan that runs every shared token once.
//
// Answer choices share their prompt, the two orders of a prompt share all but its end, and claims share their frame.
// The sequences are laid out as one forest in depth-first order: a row is one distinct token after one distinct
// history, and every row's history is the chain of its parents, all of which come before it. The last token of a
// sequence is only predicted, never run. Rows are cut into panels of a fixed number of columns, wherever the cut falls:
// by depth-first order all that a panel needs from outside itself is the chain of its first row.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace syco {

// Ragged sequences: sequence s is tokens[offsets[s], offsets[s + 1]). Its first num_context[s] tokens are given, the
// others are scored; there is at least one of each.
struct Sequences {
  std::span<const std::int32_t> tokens;
  std::span<const std::int64_t> offsets;
  std::span<const std::int32_t> num_context;
};

// Throws DataError if offsets do not fit, or a sequence has no context or nothing to score.
void check_sequences(const Sequences& sequences);

// The log-probability of `token` after `row` counts towards `sequence`.
struct Target {
  std::int64_t row;
  std::int32_t token;
  std::int32_t sequence;
  bool operator==(const Target&) const = default;
};

struct Plan {
  std::vector<std::int32_t> tokens;      // (R) token of each row, in depth-first order
  std::vector<std::int32_t> depths;      // (R) position of the token in its sequence, from 0
  std::vector<std::int64_t> parents;     // (R) row of the token before, -1 at a root
  std::vector<Target> targets;           // by row
  std::int64_t num_tokens_unshared = 0;  // tokens to run if every sequence were run alone
  std::int32_t max_depth = 0;            // rows of the longest chain

  std::int64_t num_tokens() const { return static_cast<std::int64_t>(tokens.size()); }
  bool operator==(const Plan&) const = default;
};

// Lays the sequences out. The plan does not depend on the order of the sequences, but for the numbers in `targets`.
// Throws as check_sequences does.
Plan make_plan(const Sequences& sequences);

// Keys come in tiles of this many slots.
inline constexpr std::int32_t kTileSlots = 32;

// Rows [row, row + count) of the plan stand in the key slots from `slot` on.
struct KeyRun {
  std::int32_t slot;
  std::int32_t count;
  std::int64_t row;
  bool operator==(const KeyRun&) const = default;
};

// What the columns of one panel see. A tile holds what stands at depths tile_depth .. tile_depth + 31 of one chain,
// each at its depth's own slot, so that a column's keys lie at the same slots of tiles in the same order wherever
// panels are cut; where chains part within a tile, the other branch gets a copy. Column c sees the first seen[t *
// columns + c] slots of tile t. Columns past the plan's end see themselves alone, at depth 0.
struct Panel {
  std::vector<std::int32_t> depths;       // (columns)
  std::vector<std::int32_t> tile_depths;  // (tiles)
  std::vector<std::int32_t> seen;         // (tiles, columns)
  std::vector<std::uint8_t> halves;  // (tiles) bits 0 and 1: whether a column of the first or second half sees a slot
  std::vector<KeyRun> runs;          // by slot; slots that none fills are seen by nobody

  std::int64_t num_tiles() const { return static_cast<std::int64_t>(tile_depths.size()); }
};

// The panel of `num_columns` rows that starts at `first_row`. It has at most ceil(depth of its first row / 32) +
// num_columns tiles.
Panel make_panel(const Plan& plan, std::int64_t first_row, std::int64_t num_columns);

}  // namespace syco
