// 64 x 64 -> 128 bit multiplication.
#pragma once

#include <cstdint>

namespace syco {

struct WideProduct {
  std::uint64_t low;
  std::uint64_t high;
};

inline WideProduct wide_multiply(std::uint64_t a, std::uint64_t b) {
  __extension__ using Uint128 = unsigned __int128;
  const Uint128 product = static_cast<Uint128>(a) * b;
  return {static_cast<std::uint64_t>(product), static_cast<std::uint64_t>(product >> 64)};
}

}  // namespace syco
