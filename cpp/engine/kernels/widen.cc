#include "engine/kernels/widen.h"

#include <bit>

#include "core/base/clones.h"

namespace syco {

SYCO_CLONES void widen_bfloat16(const std::uint16_t* x, std::int64_t count, float* y) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = std::bit_cast<float>(static_cast<std::uint32_t>(x[i]) << 16);
}

// A float16 has 5 bits of exponent, biased by 15, and 10 of fraction; an exponent of 0 counts units of 2^-24, and the
// largest one means infinity, or no number (IEEE 754-2019, section 3.4).
SYCO_CLONES void widen_float16(const std::uint16_t* x, std::int64_t count, float* y) {
  constexpr std::uint32_t kExponent = 0x7C00, kFraction = 0x3FF, kRebias = (127 - 15) << 23;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t half = x[i], size = half & 0x7FFF, sign = (half & 0x8000) << 16;
    const float units = static_cast<float>(static_cast<std::int32_t>(half & kFraction)) * 0x1p-24F;
    const std::uint32_t usual = (size << 13) + kRebias;
    const std::uint32_t wide = size >= kExponent ? usual + kRebias : usual;
    y[i] = std::bit_cast<float>(sign | (size > kFraction ? wide : std::bit_cast<std::uint32_t>(units)));
  }
}

}  // namespace syco
