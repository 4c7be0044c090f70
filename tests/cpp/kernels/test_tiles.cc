// Products of bfloat16 tiles against sums in double of operands that are rounded here, number by number.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/kernels/tiles.h"
#include "engine/kernels/tiles_plain.h"
#include "engine/kernels/tiles_x86.h"
#include "kernels/emulated_tiles.h"

namespace syco::tiles {
namespace {

constexpr std::int64_t kColumns = 64;

// The nearest number of eight significant bits; of two as near, the one whose last bit is 0.
double rounded(double x) {
  if (x == 0) return 0;
  int exponent = 0;
  std::frexp(x, &exponent);
  const double unit = std::ldexp(1.0, exponent - 8);
  return std::nearbyint(x / unit) * unit;
}

std::vector<float> random_numbers(std::int64_t count, std::uint32_t seed) {
  std::vector<float> x(count);
  for (float& value : x) {
    seed = seed * 1664525 + 1013904223;
    value = static_cast<float>(seed >> 8) / static_cast<float>(1 << 23) - 1;
  }
  return x;
}

bool always() { return true; }
void nothing() {}

// One way to make products, between begin() and end(), where it is available.
struct Way {
  const char* name;
  decltype(&always) is_available;
  decltype(&nothing) begin, end;
  decltype(&plain::fill_left) fill_left;
  decltype(&plain::fill_right) fill_right;
  decltype(&plain::multiply) multiply;
};

struct Operands {
  const Way& way;
  std::int64_t rows, features;
  std::vector<float> a = random_numbers(rows * features, 1), b = random_numbers(features * kColumns, 2);
  std::vector<std::uint16_t> left = std::vector<std::uint16_t>(2 * left_size(rows, features));
  std::vector<std::uint16_t> right =
      std::vector<std::uint16_t>(2 * right_size(features), 0x7FC0);  // NaN: padding is filled in

  Factor left_factor(bool with_rest) { return {left.data(), with_rest ? left.data() + left.size() / 2 : nullptr}; }
  Factor right_factor(bool with_rest) { return {right.data(), with_rest ? right.data() + right.size() / 2 : nullptr}; }

  // Laid out in pieces, as attention and the MLP do.
  void lay_out(bool with_rest) {
    const std::int64_t split = features / 3, even = features / 4 * 2;
    const Factor to = left_factor(with_rest);
    way.fill_left(a.data(), features, rows, split, to, whole(features, kFeatures), 0, 0);
    way.fill_left(a.data() + split, features, rows, features - split, to, whole(features, kFeatures), 0, split);
    way.fill_right(b.data(), 0, even, features, right_factor(with_rest));
    way.fill_right(b.data() + even * kColumns, even, features - even, features, right_factor(with_rest));
  }
};

class Tiles : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (!GetParam().is_available()) GTEST_SKIP() << "this processor has no such instructions; other ways run";
    GetParam().begin();
  }
  void TearDown() override {
    if (GetParam().is_available()) GetParam().end();
  }

  std::vector<float> multiply(Operands& x, bool with_rest, const std::uint8_t* halves = nullptr) {
    x.lay_out(with_rest);
    std::vector<float> out((x.rows + 1) * kColumns, -7);
    for (const std::int64_t half : {0, 1}) {
      x.way.multiply(x.rows, whole(x.features, kFeatures), x.left_factor(with_rest), x.right_factor(with_rest),
                     {.half = half, .halves = halves}, out.data());
    }
    for (std::int64_t c = 0; c < kColumns; ++c)
      EXPECT_EQ(out[x.rows * kColumns + c], -7);  // nothing behind the last row
    return out;
  }
};

TEST_P(Tiles, OneProductIsTheProductOfRoundedOperands) {
  for (const std::int64_t rows : {1, 8, 15, 16, 17, 34, 64}) {
    for (const std::int64_t features : {2, 31, 32, 33, 100}) {
      Operands x{GetParam(), rows, features};
      const std::vector<float> out = multiply(x, false);
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t c = 0; c < kColumns; ++c) {
          double wanted = 0;
          for (std::int64_t k = 0; k < features; ++k) {
            wanted += rounded(x.a[i * features + k]) * rounded(x.b[k * kColumns + c]);
          }
          ASSERT_NEAR(out[i * kColumns + c], wanted, 2e-6 * static_cast<double>(features)) << i << ", " << c;
        }
      }
    }
  }
}

TEST_P(Tiles, ThreeProductsHoldSixteenBits) {
  Operands x{GetParam(), 34, 100};
  const std::vector<float> out = multiply(x, true);
  for (std::int64_t i = 0; i < x.rows; ++i) {
    for (std::int64_t c = 0; c < kColumns; ++c) {
      double wanted = 0, size = 0;
      for (std::int64_t k = 0; k < x.features; ++k) {
        const double term = static_cast<double>(x.a[i * x.features + k]) * x.b[k * kColumns + c];
        wanted += term, size += std::abs(term);
      }
      EXPECT_NEAR(out[i * kColumns + c], wanted, size * 3e-5);
    }
  }
}

TEST_P(Tiles, TwoProductsOfWeightsInBfloat16AreThoseOfThreeWithoutARest) {
  for (const std::int64_t features : {2, 33, 100}) {
    Operands x{GetParam(), 34, features};
    for (float& weight : x.a) weight = static_cast<float>(rounded(weight));
    const std::vector<float> wanted = multiply(x, true);
    std::vector<float> out(wanted.size(), -7);
    for (const std::int64_t half : {0, 1}) {
      x.way.multiply(x.rows, whole(features, kFeatures), x.left_factor(false), x.right_factor(true), {.half = half},
                     out.data());
    }
    EXPECT_EQ(out, wanted);
  }
}

TEST_P(Tiles, BfloatsAreCopiedAsTheyAreRounded) {
  for (const std::int64_t features : {2, 31, 32, 33, 100}) {
    Operands x{GetParam(), 34, features};
    std::vector<std::uint16_t> numbers;
    for (float& weight : x.a) {
      weight = static_cast<float>(rounded(weight));
      numbers.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(weight) >> 16));
    }
    x.lay_out(false);
    std::vector<std::uint16_t> copied(x.left.size());
    copy_left(numbers.data(), x.rows, features, copied.data());
    EXPECT_EQ(copied, x.left);
  }
}

TEST_P(Tiles, AHalfOfTheColumnsTakesTheTilesThatCountForIt) {
  const std::vector<std::uint8_t> halves = {3, 1, 2, 0};
  for (const bool with_rest : {false, true}) {
    Operands x{GetParam(), 34, 128};
    const auto counts = [&](std::int64_t k, std::int64_t c) { return (halves[k / kFeatures] >> c / 32 & 1) != 0; };
    for (std::int64_t k = 0; k < x.features; ++k) {
      for (std::int64_t c = 0; c < kColumns; ++c) {
        if (!counts(k, c)) x.b[k * kColumns + c] = std::nanf("");
      }
    }
    const std::vector<float> out = multiply(x, with_rest, halves.data());
    for (std::int64_t i = 0; i < x.rows; ++i) {
      for (std::int64_t c = 0; c < kColumns; ++c) {
        double wanted = 0;
        for (std::int64_t k = 0; k < x.features; ++k) {
          const double a = x.a[i * x.features + k], b = x.b[k * kColumns + c];
          if (counts(k, c)) wanted += with_rest ? a * b : rounded(a) * rounded(b);
        }
        ASSERT_NEAR(out[i * kColumns + c], wanted, with_rest ? 1e-3 : 2.6e-4) << i << ", " << c;
      }
    }
  }
}

const Way kTiles = {"tiles", x86::have_tiles, x86::begin, x86::end, x86::fill_left, x86::fill_right, x86::multiply};
const Way kEmulated = {"emulated_tiles", emulated::is_available, emulated::begin,   emulated::end,
                       plain::fill_left, plain::fill_right,      emulated::multiply};
const Way kVectors = {"vectors",       x86::are_available,      nothing, nothing, x86::fill_left,
                      x86::fill_right, x86::multiply_on_vectors};
const Way kPlain = {"plain", always, nothing, nothing, plain::fill_left, plain::fill_right, plain::multiply};

INSTANTIATE_TEST_SUITE_P(EveryWay, Tiles, testing::Values(kTiles, kEmulated, kVectors, kPlain),
                         [](const testing::TestParamInfo<Way>& way) { return way.param.name; });

}  // namespace
}  // namespace syco::tiles
