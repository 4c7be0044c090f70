// Numbers of 16 bits as float32: every one there is, against what IEEE 754 says of it, in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/kernels/widen.h"

namespace syco {
namespace {

// The number of sign, exponent and fraction.
double number(std::uint16_t bits, int fraction_bits, int bias) {
  const int exponent = (bits & 0x7FFF) >> fraction_bits, fraction = bits & ((1 << fraction_bits) - 1);
  const int largest = (1 << (15 - fraction_bits)) - 1;
  double size =
      std::ldexp((exponent ? 1 << fraction_bits : 0) + fraction, std::max(exponent, 1) - bias - fraction_bits);
  if (exponent == largest) {
    size = fraction ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  }
  return bits & 0x8000 ? -size : size;
}

void expect_exact(void (*widen)(const std::uint16_t*, std::int64_t, float*), int fraction_bits, int bias) {
  std::vector<std::uint16_t> all(1 << 16);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
  std::vector<float> wide(all.size());
  widen(all.data(), std::ssize(all), wide.data());
  for (const std::uint16_t bits : all) {
    const double wanted = number(bits, fraction_bits, bias);
    if (std::isnan(wanted)) {
      ASSERT_TRUE(std::isnan(wide[bits])) << bits;
    } else {
      ASSERT_EQ(wide[bits], wanted) << bits;
      ASSERT_EQ(std::signbit(wide[bits]), std::signbit(wanted)) << bits;
    }
  }
}

TEST(Widen, EveryBfloat16IsExact) { expect_exact(widen_bfloat16, 7, 127); }

TEST(Widen, EveryFloat16IsExact) { expect_exact(widen_float16, 10, 15); }

}  // namespace
}  // namespace syco
