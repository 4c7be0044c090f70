// Elementwise work on panels: arrays of (features, 64 columns), one column a token, all float32.
//
// A column's numbers never depend on its neighbours: every loop runs the same operations in the same order on each of
// the 64 columns, which are the lanes of the vector unit. The sums run over features or keys, never over columns.
#pragma once

#include <cstdint>

namespace syco {

inline constexpr std::int64_t kColumns = 64;  // of a panel
inline constexpr std::int64_t kHalf = kColumns / 2;
inline constexpr std::uint8_t kBothHalves = 3;  // a bit each

// y = x / rms(x) * (weight + shift), over features.
void rms_norm(const float* x, const float* weight, float shift, float epsilon, std::int64_t features, float* y);

// y = (x - mean(x)) / sd(x) * weight + bias, over features; no bias where null.
void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, std::int64_t features, float* y);

// x += y; x += bias (one number a row); x *= factor (one number a column).
void add(float* x, const float* y, std::int64_t rows);
void add_bias(float* x, const float* bias, std::int64_t rows);
void scale_columns(float* x, const float* factor, std::int64_t rows);
// x *= factor.
void scale(float* x, float factor, std::int64_t rows);
// x = cap * tanh(factor * x / cap).
void soft_cap(float* x, float factor, float cap, std::int64_t rows);

// Turns rows i and i + pairs of a head by the angles whose cosine and sine are given, (pairs, 64) each.
void rotate(float* head, const float* cosine, const float* sine, std::int64_t pairs);
// The same of rows 2 i and 2 i + 1.
void rotate_neighbours(float* head, const float* cosine, const float* sine, std::int64_t pairs);

// x = act(x) * up, or act(x) where `up` is null.
void silu(float* x, const float* up, std::int64_t rows);
void gelu(float* x, const float* up, std::int64_t rows);
void gelu_tanh(float* x, const float* up, std::int64_t rows);
void relu(float* x, const float* up, std::int64_t rows);

// Adds bias[depths[c] - first_depth - j] to row j of column c, 0 <= j < rows: what belongs to the distance from key to
// query.
void add_distances(float* s, const float* bias, const std::int32_t* depths, std::int32_t first_depth,
                   std::int64_t rows);

// Sets row j of s, 0 <= j < rows, to -infinity where not low[c] <= j < high[c].
void mask_rows(float* s, const std::int32_t* low, const std::int32_t* high, std::int64_t rows);

// maximum = the larger of itself and its column of s.
void raise_maximum(const float* s, std::int64_t rows, float* maximum);

// s = exp(scale * (s - maximum)), which is 0 below exp(-87); added to `sum`, column by column: of the half of the
// columns that begins at s, maximum and sum.
void exponentiate_half(float* s, float scale, std::int64_t rows, const float* maximum, float* sum);

// A running log-sum-exp over blocks of rows: sum * exp(max).
void log_sum_exp_step(const float* s, std::int64_t rows, float* maximum, float* sum);

// y (columns, rows) = x (rows, 64) transposed, for `columns` columns.
void transpose(const float* x, std::int64_t rows, std::int64_t columns, float* y, std::int64_t y_stride);

}  // namespace syco
