#include "engine/kernels/kernels.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "core/base/clones.h"

namespace syco {
namespace {

using Row = std::array<float, kColumns>;

// exp by 2^n * p(f), |f| <= ln 2 / 2, for -87 <= x <= 88; relative error below 2e-7. The polynomial is the one of
// degree five, with exp(0) = 1 and a slope of 1 there, whose largest relative error is least.
SYCO_INLINE inline float exp_within(float x) {
  // Beside 1.5 * 2^23 numbers lie a whole 1 apart, so that a sum is rounded, and its last bits count like an integer.
  constexpr float kBias = 127.0F, kWhole = 12582912.0F + kBias;
  const float shifted = x * 1.44269504088896341F + kWhole, n = shifted - kWhole;
  const float f = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 8.312501459e-3F;
  p = p * f + 4.189033153e-2F;
  p = p * f + 1.666711539e-1F;
  p = p * f + 4.999923031e-1F;
  p = p * f + 1.0F;
  p = p * f + 1.0F;
  return p * std::bit_cast<float>(std::bit_cast<std::uint32_t>(shifted) << 23);  // n + 127 is now the exponent
}

SYCO_INLINE inline float fast_exp(float x) {
  x = x < -87.0F ? -87.0F : x;
  x = x > 88.0F ? 88.0F : x;
  return exp_within(x);
}

SYCO_INLINE inline float larger(float a, float b) { return a < b ? b : a; }

// erf by Abramowitz and Stegun 7.1.26, absolute error below 2e-7.
SYCO_INLINE inline float fast_erf(float x) {
  const float a = std::fabs(x), t = 1.0F / (1.0F + 0.3275911F * a);
  const float p = ((((1.061405429F * t - 1.453152027F) * t + 1.421413741F) * t - 0.284496736F) * t + 0.254829592F) * t;
  return std::copysign(1.0F - p * fast_exp(-a * a), x);
}

// x = function(x) * up, or without `up` where null.
template <typename Function>
SYCO_INLINE inline void activate(float* __restrict x, const float* __restrict up, std::int64_t rows,
                                 Function function) {
  if (up) {
    for (std::int64_t i = 0; i < rows * kColumns; ++i) x[i] = function(x[i]) * up[i];
  } else {
    for (std::int64_t i = 0; i < rows * kColumns; ++i) x[i] = function(x[i]);
  }
}

}  // namespace

SYCO_CLONES void rms_norm(const float* x, const float* weight, float shift, float epsilon, std::int64_t features,
                          float* y) {
  Row sum{};
  for (std::int64_t i = 0; i < features; ++i) {
    for (std::int64_t c = 0; c < kColumns; ++c) sum[c] += x[i * kColumns + c] * x[i * kColumns + c];
  }
  for (float& s : sum) s = 1.0F / std::sqrt(s / static_cast<float>(features) + epsilon);
  for (std::int64_t i = 0; i < features; ++i) {
    const float w = weight[i] + shift;
    for (std::int64_t c = 0; c < kColumns; ++c) y[i * kColumns + c] = x[i * kColumns + c] * sum[c] * w;
  }
}

SYCO_CLONES void layer_norm(const float* x, const float* weight, const float* bias, float epsilon,
                            std::int64_t features, float* y) {
  Row mean{}, square{};
  for (std::int64_t i = 0; i < features; ++i) {
    for (std::int64_t c = 0; c < kColumns; ++c) mean[c] += x[i * kColumns + c];
  }
  for (float& m : mean) m /= static_cast<float>(features);
  for (std::int64_t i = 0; i < features; ++i) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      const float d = x[i * kColumns + c] - mean[c];
      square[c] += d * d;
    }
  }
  for (float& s : square) s = 1.0F / std::sqrt(s / static_cast<float>(features) + epsilon);
  for (std::int64_t i = 0; i < features; ++i) {
    const float w = weight[i], b = bias ? bias[i] : 0.0F;
    for (std::int64_t c = 0; c < kColumns; ++c)
      y[i * kColumns + c] = (x[i * kColumns + c] - mean[c]) * square[c] * w + b;
  }
}

SYCO_CLONES void add(float* x, const float* y, std::int64_t rows) {
  for (std::int64_t i = 0; i < rows * kColumns; ++i) x[i] += y[i];
}

SYCO_CLONES void add_bias(float* x, const float* bias, std::int64_t rows) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t c = 0; c < kColumns; ++c) x[i * kColumns + c] += bias[i];
  }
}

SYCO_CLONES void scale_columns(float* x, const float* factor, std::int64_t rows) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t c = 0; c < kColumns; ++c) x[i * kColumns + c] *= factor[c];
  }
}

SYCO_CLONES void scale(float* x, float factor, std::int64_t rows) {
  for (std::int64_t i = 0; i < rows * kColumns; ++i) x[i] *= factor;
}

SYCO_CLONES void soft_cap(float* x, float factor, float cap, std::int64_t rows) {
  const float shrink = factor / cap;
  for (std::int64_t i = 0; i < rows * kColumns; ++i) {
    const float u = x[i] * shrink, e = fast_exp(-2.0F * std::fabs(u));
    x[i] = std::copysign(cap * (1.0F - e) / (1.0F + e), u);
  }
}

SYCO_CLONES void rotate_neighbours(float* head, const float* cosine, const float* sine, std::int64_t pairs) {
  for (std::int64_t i = 0; i < pairs; ++i) {
    float *first = head + 2 * i * kColumns, *second = first + kColumns;
    for (std::int64_t c = 0; c < kColumns; ++c) {
      const float a = first[c], b = second[c], cos = cosine[i * kColumns + c], sin = sine[i * kColumns + c];
      first[c] = a * cos - b * sin;
      second[c] = b * cos + a * sin;
    }
  }
}

SYCO_CLONES void rotate(float* head, const float* cosine, const float* sine, std::int64_t pairs) {
  for (std::int64_t i = 0; i < pairs * kColumns; ++i) {
    const float a = head[i], b = head[i + pairs * kColumns];
    head[i] = a * cosine[i] - b * sine[i];
    head[i + pairs * kColumns] = b * cosine[i] + a * sine[i];
  }
}

SYCO_CLONES void silu(float* x, const float* up, std::int64_t rows) {
  activate(x, up, rows, [](float v) SYCO_INLINE { return v / (1.0F + fast_exp(-v)); });
}

SYCO_CLONES void gelu(float* x, const float* up, std::int64_t rows) {
  activate(x, up, rows, [](float v) SYCO_INLINE { return 0.5F * v * (1.0F + fast_erf(v * 0.70710678118654752F)); });
}

SYCO_CLONES void gelu_tanh(float* x, const float* up, std::int64_t rows) {
  activate(x, up, rows, [](float v) SYCO_INLINE {
    // 0.5 (1 + tanh(u)) = 1 / (1 + exp(-2 u))
    const float u = 0.79788456080286536F * (v + 0.044715F * v * v * v);
    return v / (1.0F + fast_exp(-2.0F * u));
  });
}

SYCO_CLONES void relu(float* x, const float* up, std::int64_t rows) {
  activate(x, up, rows, [](float v) SYCO_INLINE { return v < 0.0F ? 0.0F : v; });
}

SYCO_CLONES void add_distances(float* s, const float* bias, const std::int32_t* depths, std::int32_t first_depth,
                               std::int64_t rows) {
  for (std::int32_t j = 0; j < rows; ++j) {
    for (std::int64_t c = 0; c < kColumns; ++c) s[j * kColumns + c] += bias[depths[c] - first_depth - j];
  }
}

SYCO_CLONES void mask_rows(float* s, const std::int32_t* low, const std::int32_t* high, std::int64_t rows) {
  for (std::int32_t j = 0; j < rows; ++j) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      const bool seen = (low[c] <= j) & (j < high[c]);
      s[j * kColumns + c] = seen ? s[j * kColumns + c] : -std::numeric_limits<float>::infinity();
    }
  }
}

SYCO_CLONES void raise_maximum(const float* s, std::int64_t rows, float* maximum) {
  Row highest;
  for (std::int64_t c = 0; c < kColumns; ++c) highest[c] = maximum[c];
  for (std::int64_t j = 0; j < rows; ++j) {
    for (std::int64_t c = 0; c < kColumns; ++c) highest[c] = larger(highest[c], s[j * kColumns + c]);
  }
  for (std::int64_t c = 0; c < kColumns; ++c) maximum[c] = highest[c];
}

SYCO_CLONES void exponentiate_half(float* __restrict s, float scale, std::int64_t rows, const float* __restrict maximum,
                                   float* __restrict sum) {
  std::array<float, kHalf> highest, added;
  for (std::int64_t c = 0; c < kHalf; ++c) highest[c] = maximum[c], added[c] = sum[c];
  for (std::int64_t j = 0; j < rows; ++j) {
    for (std::int64_t c = 0; c < kHalf; ++c) {
      const float x = scale * (s[j * kColumns + c] - highest[c]);
      // What is masked weighs exactly nothing, so that it may stand anywhere.
      const float e = x < -87.0F ? 0.0F : exp_within(x);
      s[j * kColumns + c] = e;
      added[c] += e;
    }
  }
  for (std::int64_t c = 0; c < kHalf; ++c) sum[c] = added[c];
}

SYCO_CLONES void log_sum_exp_step(const float* s, std::int64_t rows, float* maximum, float* sum) {
  Row highest, added{};
  for (std::int64_t c = 0; c < kColumns; ++c) highest[c] = maximum[c];
  for (std::int64_t j = 0; j < rows; ++j) {
    for (std::int64_t c = 0; c < kColumns; ++c) highest[c] = larger(highest[c], s[j * kColumns + c]);
  }
  for (std::int64_t j = 0; j < rows; ++j) {
    for (std::int64_t c = 0; c < kColumns; ++c) added[c] += fast_exp(s[j * kColumns + c] - highest[c]);
  }
  for (std::int64_t c = 0; c < kColumns; ++c) {
    sum[c] = sum[c] * fast_exp(maximum[c] - highest[c]) + added[c];
    maximum[c] = highest[c];
  }
}

SYCO_CLONES void transpose(const float* x, std::int64_t rows, std::int64_t columns, float* y, std::int64_t y_stride) {
  for (std::int64_t c = 0; c < columns; ++c) {
    for (std::int64_t i = 0; i < rows; ++i) y[c * y_stride + i] = x[i * kColumns + c];
  }
}

}  // namespace syco
