// Products of bfloat16 tiles against sums in double of operands that are rounded here, number by number.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/tiles.h"

namespace syco::tiles {
namespace {

constexpr int64_t kColumns = 64;

// The nearest number of eight significant bits; of two as near, the one whose last bit is 0.
double rounded(double x) {
  if (x == 0) return 0;
  int exponent = 0;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1.0, exponent - 8);
  return std::nearbyint(x / unit) * unit;
}

std::vector<float> random_numbers(int64_t count, uint32_t seed) {
  std::vector<float> x(count);
  for (float& value : x) {
    seed = seed * 1664525 + 1013904223;
    value = static_cast<float>(seed >> 8) / static_cast<float>(1 << 23) - 1;
  }
  return x;
}

struct Operands {
  int64_t rows, features;
  std::vector<float> a = random_numbers(rows * features, 1), b = random_numbers(features * kColumns, 2);
  std::vector<uint16_t> left = std::vector<uint16_t>(2 * left_size(rows, features));
  std::vector<uint16_t> right = std::vector<uint16_t>(2 * right_size(features), 0x7FC0);  // NaN: padding is filled in

  Factor left_factor(bool with_rest) { return {left.data(), with_rest ? left.data() + left.size() / 2 : nullptr}; }
  Factor right_factor(bool with_rest) { return {right.data(), with_rest ? right.data() + right.size() / 2 : nullptr}; }

  // Laid out in pieces, as attention and the MLP do.
  void lay_out(bool with_rest) {
    const int64_t split = features / 3, even = features / 4 * 2;
    const Factor to = left_factor(with_rest);
    fill_left(a.data(), features, rows, split, to, whole(features, kFeatures), 0, 0);
    fill_left(a.data() + split, features, rows, features - split, to, whole(features, kFeatures), 0, split);
    fill_right(b.data(), 0, even, features, right_factor(with_rest));
    fill_right(b.data() + even * kColumns, even, features - even, features, right_factor(with_rest));
  }
};

using Product = void (*)(int64_t, int64_t, const Factor&, const Factor&, float*);

class Tiles : public testing::TestWithParam<Product> {
 protected:
  void SetUp() override {
    if (!are_available()) GTEST_SKIP() << "this processor has no bfloat16 products";
    begin();
  }
  void TearDown() override {
    if (are_available()) end();
  }

  std::vector<float> multiply(Operands& x, bool with_rest) {
    x.lay_out(with_rest);
    std::vector<float> out((x.rows + 1) * kColumns, -7);
    GetParam()(x.rows, whole(x.features, kFeatures), x.left_factor(with_rest), x.right_factor(with_rest), out.data());
    for (int64_t c = 0; c < kColumns; ++c) EXPECT_EQ(out[x.rows * kColumns + c], -7);  // nothing behind the last row
    return out;
  }
};

TEST_P(Tiles, OneProductIsTheProductOfRoundedOperands) {
  for (const int64_t rows : {1, 8, 15, 16, 17, 34, 64}) {
    for (const int64_t features : {2, 31, 32, 33, 100}) {
      Operands x{rows, features};
      const std::vector<float> out = multiply(x, false);
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t c = 0; c < kColumns; ++c) {
          double wanted = 0;
          for (int64_t k = 0; k < features; ++k) {
            wanted += rounded(x.a[i * features + k]) * rounded(x.b[k * kColumns + c]);
          }
          ASSERT_NEAR(out[i * kColumns + c], wanted, 2e-6 * static_cast<double>(features)) << i << ", " << c;
        }
      }
    }
  }
}

TEST_P(Tiles, ThreeProductsHoldSixteenBits) {
  Operands x{34, 100};
  const std::vector<float> out = multiply(x, true);
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t c = 0; c < kColumns; ++c) {
      double wanted = 0, size = 0;
      for (int64_t k = 0; k < x.features; ++k) {
        const double term = static_cast<double>(x.a[i * x.features + k]) * x.b[k * kColumns + c];
        wanted += term, size += std::abs(term);
      }
      EXPECT_NEAR(out[i * kColumns + c], wanted, size * 3e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OnTilesOrVectors, Tiles, testing::Values(&multiply, &multiply_on_vectors));

}  // namespace
}  // namespace syco::tiles
