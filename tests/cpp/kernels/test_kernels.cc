// Kernels on panels against the same formula in double, column by column.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/kernels/kernels.h"
#include "engine/kernels/strips.h"

namespace syco {
namespace {

using Panel = std::vector<float>;

Panel random_panel(std::int64_t rows, float scale) {
  Panel x(rows * kColumns);
  std::uint32_t state = 7;
  for (float& value : x) {
    state = state * 1664525 + 1013904223;
    value = scale * (static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1);
  }
  return x;
}

// Laid into strips in two parts, as kernels do that make a panel part by part.
Panel in_strips(const Panel& x) {
  const std::int64_t features = std::ssize(x) / kColumns, half = features / 2;
  Panel panel(x.size());
  strips::fill(x.data(), 0, half, features, panel.data());
  strips::fill(x.data() + half * kColumns, half, features - half, features, panel.data());
  return panel;
}

void expect_near(const Panel& x, const std::vector<double>& wanted, double tolerance) {
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_NEAR(x[i], wanted[i], tolerance * std::max(1.0, std::abs(wanted[i]))) << i;
}

template <typename Function>
std::vector<double> each(const Panel& x, Function function) {
  std::vector<double> y;
  for (const float value : x) y.push_back(function(static_cast<double>(value)));
  return y;
}

TEST(Kernels, ActivationsAreAccurateFarAndNear) {
  for (const float scale : {0.01F, 1.0F, 20.0F, 200.0F}) {
    const Panel x = random_panel(5, scale);
    Panel y = x;
    silu(y.data(), nullptr, 5);
    expect_near(y, each(x, [](double v) { return v / (1 + std::exp(-v)); }), 1e-6);
    y = x;
    gelu(y.data(), nullptr, 5);
    expect_near(y, each(x, [](double v) { return v * 0.5 * std::erfc(-v / std::sqrt(2.0)); }), 1e-6);
    y = x;
    gelu_tanh(y.data(), nullptr, 5);
    const auto wanted = [](double v) {
      return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    };
    expect_near(y, each(x, wanted), 1e-6);
  }
}

TEST(Kernels, WhatIsNotANumberStaysSo) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const Panel ones(kColumns, 1), nans(kColumns, kNan);
  const auto expect_nan = [&](const auto& step) {
    Panel x = nans;
    step(x.data());
    for (const float value : x) EXPECT_TRUE(std::isnan(value));
  };
  for (const auto activation : {silu, gelu, gelu_tanh, relu}) {
    expect_nan([&](float* x) { activation(x, nullptr, 1); });
    expect_nan([&](float* x) { activation(x, ones.data(), 1); });
    expect_nan([&](float* x) {
      Panel zeros(kColumns, 0);
      activation(zeros.data(), x, 1);
      std::ranges::copy(zeros, x);
    });
  }
  expect_nan([](float* x) { soft_cap(x, 1, 2, 1); });
  expect_nan([&](float* x) { rms_norm(x, ones.data(), 0, 1e-5F, 1, x); });
  expect_nan([&](float* x) { layer_norm(x, ones.data(), nullptr, 1e-5F, 1, x); });
}

TEST(Kernels, OneScoreThatIsNotANumberLeavesNoneInItsColumn) {
  Panel s = random_panel(4, 3), logits = s;
  s[kColumns + 5] = logits[kColumns + 5] = std::numeric_limits<float>::quiet_NaN();
  std::array<float, kColumns> maximum{}, sum{}, highest{}, total{};
  maximum.fill(-std::numeric_limits<float>::infinity());
  highest = maximum;
  raise_maximum(s.data(), 4, maximum.data());
  exponentiate_half(s.data(), 1, 4, maximum.data(), sum.data());
  log_sum_exp_step(logits.data(), 4, highest.data(), total.data());
  for (std::int64_t c = 0; c < kHalf; ++c) {
    EXPECT_EQ(std::isnan(sum[c]), c == 5);
    EXPECT_EQ(std::isnan(total[c]), c == 5);
  }
}

TEST(Kernels, SoftCapIsAccurateFarAndNear) {
  for (const float size : {0.001F, 1.0F, 50.0F, 1e6F}) {
    const Panel x = random_panel(5, size);
    Panel y = x;
    soft_cap(y.data(), 0.3F, 7, 5);
    expect_near(y, each(x, [](double v) { return 7 * std::tanh(0.3F * v / 7); }), 2e-6);
  }
}

TEST(Kernels, NeighboursTurnByTheirAngle) {
  constexpr std::int64_t kPairs = 3;
  const Panel x = random_panel(2 * kPairs, 2), angle = random_panel(kPairs, 3);
  Panel cosine = angle, sine = angle, y = x;
  for (float& a : cosine) a = std::cos(a);
  for (float& a : sine) a = std::sin(a);
  rotate_neighbours(y.data(), cosine.data(), sine.data(), kPairs);
  std::vector<double> wanted(x.size());
  for (std::int64_t i = 0; i < kPairs; ++i) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      const double a = x[2 * i * kColumns + c], b = x[(2 * i + 1) * kColumns + c], by = angle[i * kColumns + c];
      wanted[2 * i * kColumns + c] = a * std::cos(by) - b * std::sin(by);
      wanted[(2 * i + 1) * kColumns + c] = a * std::sin(by) + b * std::cos(by);
    }
  }
  expect_near(y, wanted, 1e-6);
}

TEST(Kernels, ActivationsAreMultipliedByUp) {
  const Panel x = random_panel(5, 20), up = random_panel(10, 3);
  std::vector<double> wanted = each(x, [](double v) { return v / (1 + std::exp(-v)); });
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] *= up[i];
  Panel y = x;
  silu(y.data(), up.data(), 5);
  expect_near(y, wanted, 1e-6);
}

TEST(Kernels, SoftmaxWeighsWhatIsMaskedExactlyZero) {
  Panel s = random_panel(9, 30);
  const Panel before = s;
  const std::vector<std::int32_t> low(kColumns, 2), high(kColumns, 7);
  mask_rows(s.data(), low.data(), high.data(), 9);
  std::array<float, kColumns> maximum{}, sums{};
  maximum.fill(-std::numeric_limits<float>::infinity());
  raise_maximum(s.data(), 4, maximum.data());
  raise_maximum(s.data() + 4 * kColumns, 5, maximum.data());
  for (const std::int64_t c : {std::int64_t{0}, kHalf}) {
    exponentiate_half(s.data() + c, 0.5F, 6, maximum.data() + c, sums.data() + c);
    exponentiate_half(s.data() + 6 * kColumns + c, 0.5F, 3, maximum.data() + c, sums.data() + c);
  }
  for (std::int64_t c = 0; c < kColumns; ++c) {
    double sum = 0;
    for (std::int64_t j = 2; j < 7; ++j) sum += std::exp(0.5 * before[j * kColumns + c]);
    for (std::int64_t j = 0; j < 9; ++j) {
      const double wanted = j < 2 || j >= 7 ? 0 : std::exp(0.5 * before[j * kColumns + c]) / sum;
      EXPECT_NEAR(s[j * kColumns + c] / sums[c], wanted, 1e-6);
      if (wanted == 0) {
        EXPECT_EQ(s[j * kColumns + c], 0);
      }
    }
  }
}

TEST(Kernels, RunningLogSumExpEqualsTheWhole) {
  const Panel s = random_panel(30, 50);
  std::array<float, kColumns> maximum{}, sum{};
  maximum.fill(-std::numeric_limits<float>::infinity());
  for (std::int64_t j = 0; j < 30; j += 10) log_sum_exp_step(s.data() + j * kColumns, 10, maximum.data(), sum.data());
  for (std::int64_t c = 0; c < kColumns; ++c) {
    double wanted = 0;
    for (std::int64_t j = 0; j < 30; ++j) wanted += std::exp(static_cast<double>(s[j * kColumns + c]));
    EXPECT_NEAR(maximum[c] + std::log(sum[c]), std::log(wanted), 1e-5);
  }
}

TEST(Kernels, NormsEqualTheirFormulas) {
  const Panel x = random_panel(33, 3);
  const std::vector<float> weight(33, 1.5F), bias(33, 0.25F);
  Panel rms(x.size()), layer(x.size());
  rms_norm(x.data(), weight.data(), 1.0F, 1e-5F, 33, rms.data());
  layer_norm(x.data(), weight.data(), bias.data(), 1e-5F, 33, layer.data());
  for (std::int64_t c = 0; c < kColumns; ++c) {
    double mean = 0, square = 0, variance = 0;
    for (std::int64_t i = 0; i < 33; ++i)
      mean += x[i * kColumns + c] / 33.0, square += std::pow(x[i * kColumns + c], 2) / 33;
    for (std::int64_t i = 0; i < 33; ++i) variance += std::pow(x[i * kColumns + c] - mean, 2) / 33;
    for (std::int64_t i = 0; i < 33; ++i) {
      EXPECT_NEAR(rms[i * kColumns + c], x[i * kColumns + c] / std::sqrt(square + 1e-5) * 2.5, 1e-5);
      EXPECT_NEAR(layer[i * kColumns + c], (x[i * kColumns + c] - mean) / std::sqrt(variance + 1e-5) * 1.5 + 0.25,
                  1e-5);
    }
  }
}

// Expects c (m, 64) = a (m, k) x b (k, 64), as summed in double.
void expect_product(const Panel& c, const Panel& a, std::int64_t a_stride, const Panel& b, std::int64_t m,
                    std::int64_t k) {
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t column = 0; column < kColumns; ++column) {
      double wanted = 0, size = 0;
      for (std::int64_t j = 0; j < k; ++j) {
        const double term = static_cast<double>(a[i * a_stride + j]) * b[j * kColumns + column];
        wanted += term, size += std::fabs(term);
      }
      ASSERT_NEAR(c[i * kColumns + column], wanted, 1e-6 * size) << m << " x " << k << ": " << i << ", " << column;
    }
  }
}

TEST(Strips, EqualsTheSumInDoubleForAllSizes) {
  for (const std::int64_t k : {1, 21, 191, 192, 193, 400}) {
    const std::int64_t stride = k + 3;
    const Panel b = random_panel(k, 1);
    const Panel a = random_panel((65 * stride + kColumns - 1) / kColumns, 2);
    for (const std::int64_t m : {1, 2, 3, 4, 5, 6, 7, 32, 64, 65}) {
      Panel c((m + 1) * kColumns, 7.0F);
      strips::multiply(m, k, a.data(), stride, in_strips(b).data(), c.data());
      expect_product(c, a, stride, b, m, k);
      for (std::int64_t column = 0; column < kColumns; ++column) ASSERT_EQ(c[m * kColumns + column], 7.0F);
    }
  }
}

// A row's numbers are the same bits alone and among others, and a column's wherever it stands.
TEST(Strips, DoesNotDependOnItsNeighbours) {
  constexpr std::int64_t kRows = 17, kFeatures = 333;
  const Panel a = random_panel(kRows * kFeatures / kColumns + 1, 3), b = random_panel(kFeatures, 4);
  Panel all(kRows * kColumns), alone(kColumns), turned(kFeatures * kColumns), again(kRows * kColumns);
  strips::multiply(kRows, kFeatures, a.data(), kFeatures, in_strips(b).data(), all.data());
  for (std::int64_t j = 0; j < kFeatures; ++j) {
    std::reverse_copy(b.begin() + j * kColumns, b.begin() + (j + 1) * kColumns, turned.begin() + j * kColumns);
  }
  strips::multiply(kRows, kFeatures, a.data(), kFeatures, in_strips(turned).data(), again.data());
  for (std::int64_t i = 0; i < kRows; ++i) {
    strips::multiply(1, kFeatures, a.data() + i * kFeatures, kFeatures, in_strips(b).data(), alone.data());
    for (std::int64_t c = 0; c < kColumns; ++c) {
      EXPECT_EQ(all[i * kColumns + c], alone[c]);
      EXPECT_EQ(all[i * kColumns + c], again[i * kColumns + kColumns - 1 - c]);
    }
  }
}

// Keys that a column does not see weigh nothing, wherever they stand among those it sees.
TEST(Strips, InOrderZerosAmongTheTermsChangeNothing) {
  constexpr std::int64_t kRows = 7, kTerms = 300, kHole = 160, kAt = 96;
  const Panel a = random_panel(kRows * kTerms / kColumns + 1, 3), b = random_panel(kTerms, 1);
  Panel wide_a(kRows * (kTerms + kHole), 0.5F), wide_b((kTerms + kHole) * kColumns);
  for (std::int64_t i = 0; i < kRows; ++i) {
    std::copy_n(a.begin() + i * kTerms, kAt, wide_a.begin() + i * (kTerms + kHole));
    std::copy_n(a.begin() + i * kTerms + kAt, kTerms - kAt, wide_a.begin() + i * (kTerms + kHole) + kAt + kHole);
  }
  std::copy_n(b.begin(), kAt * kColumns, wide_b.begin());
  std::copy_n(b.begin() + kAt * kColumns, (kTerms - kAt) * kColumns, wide_b.begin() + (kAt + kHole) * kColumns);
  Panel c(kRows * kColumns), wide(kRows * kColumns);
  strips::multiply_in_order(kRows, kTerms, a.data(), kTerms, in_strips(b).data(), c.data());
  strips::multiply_in_order(kRows, kTerms + kHole, wide_a.data(), kTerms + kHole, in_strips(wide_b).data(),
                            wide.data());
  EXPECT_EQ(c, wide);
  expect_product(c, a, kTerms, b, kRows, kTerms);
}

}  // namespace
}  // namespace syco
