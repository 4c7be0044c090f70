// A fast 64-bit hash for stable ids and digests; not cryptographic. The same on every platform of one byte order.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/base/wide_multiply.h"

namespace syco {

static_assert(std::endian::native == std::endian::little, "Arrow buffers and hashes are written in little endian");

// Adds values one after another; {"ab", "c"} and {"a", "bc"} differ, because every text adds its length.
class Hasher {
 public:
  Hasher& add(std::uint64_t value) {
    state_ = fold(state_ ^ value, kSecret[0]) + kSecret[1];
    return *this;
  }
  Hasher& add(std::string_view text) {
    const char* at = text.data();
    std::size_t left = text.size();
    for (; left >= 16; at += 16, left -= 16) state_ = fold(state_ ^ load(at, 8), kSecret[2] ^ load(at + 8, 8));
    const std::size_t first = left < 8 ? left : 8;
    state_ = fold(state_ ^ load(at, first), kSecret[3] ^ load(at + first, left - first));
    return add(text.size());
  }
  std::uint64_t value() const { return fold(state_ ^ kSecret[1], kSecret[2]); }

 private:
  static constexpr std::array<std::uint64_t, 4> kSecret = {0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                                                           0xD6E8FEB86659FD93};
  static std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
    const WideProduct product = wide_multiply(a, b);
    return product.low ^ product.high;
  }
  static std::uint64_t load(const char* at, std::size_t num_bytes) {
    std::uint64_t word = 0;
    if (num_bytes > 0) std::memcpy(&word, at, num_bytes);
    return word;
  }

  std::uint64_t state_ = kSecret[0];
};

inline constexpr std::size_t kIdLength = 16;

// Writes 16 lower-case hexadecimal digits at `out`.
inline void write_id(std::uint64_t value, char* out) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (std::size_t i = 0; i < kIdLength; ++i) out[i] = kDigits[value >> (60 - 4 * i) & 15];
}

inline std::string id_text(std::uint64_t value) {
  std::string text(kIdLength, '0');
  write_id(value, text.data());
  return text;
}

}  // namespace syco
