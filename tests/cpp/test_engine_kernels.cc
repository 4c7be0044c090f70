// Kernels on panels against the same formula in double, column by column.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/kernels.h"

namespace syco {
namespace {

using Panel = std::vector<float>;

Panel random_panel(int64_t rows, float scale) {
  Panel x(rows * kColumns);
  uint32_t state = 7;
  for (float& value : x) {
    state = state * 1664525 + 1013904223;
    value = scale * (static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1);
  }
  return x;
}

void expect_near(const Panel& x, const std::vector<double>& wanted, double tolerance) {
  for (size_t i = 0; i < x.size(); ++i)
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
    silu(y.data(), 5);
    expect_near(y, each(x, [](double v) { return v / (1 + std::exp(-v)); }), 1e-6);
    y = x;
    gelu(y.data(), 5);
    expect_near(y, each(x, [](double v) { return v * 0.5 * std::erfc(-v / std::sqrt(2.0)); }), 1e-6);
    y = x;
    gelu_tanh(y.data(), 5);
    const auto wanted = [](double v) {
      return 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    };
    expect_near(y, each(x, wanted), 1e-6);
  }
}

TEST(Kernels, SoftmaxWeighsWhatIsMaskedExactlyZero) {
  Panel s = random_panel(9, 30);
  const Panel before = s;
  const std::vector<int32_t> low(kColumns, 2), high(kColumns, 7);
  mask_rows(s.data(), low.data(), high.data(), 9);
  std::array<float, kColumns> maximum{}, sums{};
  maximum.fill(-std::numeric_limits<float>::infinity());
  raise_maximum(s.data(), 4, maximum.data());
  raise_maximum(s.data() + 4 * kColumns, 5, maximum.data());
  exponentiate(s.data(), 0.5F, 6, maximum.data(), s.data(), sums.data());
  exponentiate(s.data() + 6 * kColumns, 0.5F, 3, maximum.data(), s.data() + 6 * kColumns, sums.data());
  for (int64_t c = 0; c < kColumns; ++c) {
    double sum = 0;
    for (int64_t j = 2; j < 7; ++j) sum += std::exp(0.5 * before[j * kColumns + c]);
    for (int64_t j = 0; j < 9; ++j) {
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
  for (int64_t j = 0; j < 30; j += 10) log_sum_exp_step(s.data() + j * kColumns, 10, maximum.data(), sum.data());
  for (int64_t c = 0; c < kColumns; ++c) {
    double wanted = 0;
    for (int64_t j = 0; j < 30; ++j) wanted += std::exp(static_cast<double>(s[j * kColumns + c]));
    EXPECT_NEAR(maximum[c] + std::log(sum[c]), std::log(wanted), 1e-5);
  }
}

TEST(Kernels, NormsEqualTheirFormulas) {
  const Panel x = random_panel(33, 3);
  const std::vector<float> weight(33, 1.5F), bias(33, 0.25F);
  Panel rms(x.size()), layer(x.size());
  rms_norm(x.data(), weight.data(), 1.0F, 1e-5F, 33, rms.data());
  layer_norm(x.data(), weight.data(), bias.data(), 1e-5F, 33, layer.data());
  for (int64_t c = 0; c < kColumns; ++c) {
    double mean = 0, square = 0, variance = 0;
    for (int64_t i = 0; i < 33; ++i)
      mean += x[i * kColumns + c] / 33.0, square += std::pow(x[i * kColumns + c], 2) / 33;
    for (int64_t i = 0; i < 33; ++i) variance += std::pow(x[i * kColumns + c] - mean, 2) / 33;
    for (int64_t i = 0; i < 33; ++i) {
      EXPECT_NEAR(rms[i * kColumns + c], x[i * kColumns + c] / std::sqrt(square + 1e-5) * 2.5, 1e-5);
      EXPECT_NEAR(layer[i * kColumns + c], (x[i * kColumns + c] - mean) / std::sqrt(variance + 1e-5) * 1.5 + 0.25,
                  1e-5);
    }
  }
}

TEST(Kernels, PlainProductEqualsTheSumInOrder) {
  const Panel b = random_panel(21, 1);
  const std::vector<float> a(2 * 24, 0.5F);
  Panel c(2 * kColumns);
  multiply(2, 21, a.data(), 24, b.data(), c.data());
  for (int64_t column = 0; column < kColumns; ++column) {
    double wanted = 0;
    for (int64_t j = 0; j < 21; ++j) wanted += 0.5 * b[j * kColumns + column];
    EXPECT_NEAR(c[kColumns + column], wanted, 1e-5);
  }
}

}  // namespace
}  // namespace syco
