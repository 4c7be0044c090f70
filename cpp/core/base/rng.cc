#include "core/base/rng.h"

#include <bit>

#include "core/base/wide_multiply.h"

namespace syco {
namespace {

// One block of the Philox4x64-10 generator.
std::array<std::uint64_t, 4> philox4x64(std::array<std::uint64_t, 4> counter, std::array<std::uint64_t, 2> key) {
  constexpr std::uint64_t kMultiplier0 = 0xD2E7470EE14C6C93;
  constexpr std::uint64_t kMultiplier1 = 0xCA5A826395121157;
  constexpr std::uint64_t kWeyl0 = 0x9E3779B97F4A7C15;  // golden ratio
  constexpr std::uint64_t kWeyl1 = 0xBB67AE8584CAA73B;  // sqrt(3) - 1
  constexpr int kNumRounds = 10;
  for (int round = 0; round < kNumRounds; ++round) {
    const WideProduct a = wide_multiply(kMultiplier0, counter[0]);
    const WideProduct b = wide_multiply(kMultiplier1, counter[2]);
    counter = {b.high ^ counter[1] ^ key[0], b.low, a.high ^ counter[3] ^ key[1], a.low};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

}  // namespace

void Draws::refill() {
  ++counter_[0];  // numpy counts up before it draws
  block_ = philox4x64(counter_, key_);
  used_ = 0;
}

std::uint64_t Draws::below(std::uint64_t bound) {
  WideProduct product = wide_multiply(next(), bound);
  if (product.low < bound) {
    const std::uint64_t threshold = -bound % bound;
    while (product.low < threshold) product = wide_multiply(next(), bound);
  }
  return product.high;
}

Permutation::Permutation(std::uint64_t size, Draws draws) : size_(size) {
  const std::uint64_t bits = size < 2 ? 0 : std::bit_width(size - 1);
  low_bits_ = (bits + 1) / 2;
  low_mask_ = (std::uint64_t{1} << low_bits_) - 1;
  high_mask_ = (std::uint64_t{1} << (bits - low_bits_)) - 1;
  for (std::uint64_t& key : keys_) key = draws.next();
}

std::uint64_t Permutation::round_bits(std::size_t round, std::uint64_t half) const {
  constexpr std::uint64_t kOdd = 0xD6E8FEB86659FD93;
  const WideProduct product = wide_multiply(half ^ keys_[round], kOdd);
  const WideProduct again = wide_multiply(product.high ^ product.low, kOdd ^ keys_[round]);
  return again.high ^ again.low;
}

std::uint64_t Permutation::forward_once(std::uint64_t x) const {
  std::uint64_t low = x & low_mask_;
  std::uint64_t high = x >> low_bits_;
  for (std::size_t round = 0; round < kRounds; round += 2) {
    low ^= round_bits(round, high) & low_mask_;
    high ^= round_bits(round + 1, low) & high_mask_;
  }
  return high << low_bits_ | low;
}

std::uint64_t Permutation::backward_once(std::uint64_t x) const {
  std::uint64_t low = x & low_mask_;
  std::uint64_t high = x >> low_bits_;
  for (std::size_t round = kRounds; round > 0; round -= 2) {
    high ^= round_bits(round - 1, low) & high_mask_;
    low ^= round_bits(round - 2, high) & low_mask_;
  }
  return high << low_bits_ | low;
}

std::uint64_t Permutation::operator()(std::uint64_t i) const {
  do {
    i = forward_once(i);
  } while (i >= size_);
  return i;
}

std::uint64_t Permutation::inverse(std::uint64_t j) const {
  do {
    j = backward_once(j);
  } while (j >= size_);
  return j;
}

}  // namespace syco
