#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "core/base/rng.h"

namespace syco {
namespace {

// numpy.random.Philox(key=[7, 65536], counter=[0, 5, 0, 0]).random_raw(6)
TEST(Philox, DrawsWhatNumpyDraws) {
  Draws draws(7, 65536, 5);
  const std::vector<std::uint64_t> wanted = {0x69FD90458A28A420, 0x91396EF96F7EE3EB, 0xB01F5325EB0D13D9,
                                             0x8ABDD36C2A65ED86, 0xB3D2A888DC59E46B, 0x4990932A6DFF7767};
  std::vector<std::uint64_t> drawn(wanted.size());
  std::ranges::generate(drawn, [&draws] { return draws.next(); });
  EXPECT_EQ(drawn, wanted);
}

TEST(Philox, TakesTheLargestSeedAndIndex) {
  Draws draws(~std::uint64_t{0}, 3, ~std::uint64_t{0});
  const std::vector<std::uint64_t> wanted = {0x098F660247DD1D1A, 0x930B6D8A6AB482FF, 0x70DC4CEEEED9FFFD,
                                             0x5D6E9EA994D4CCB1};
  std::vector<std::uint64_t> drawn(wanted.size());
  std::ranges::generate(drawn, [&draws] { return draws.next(); });
  EXPECT_EQ(drawn, wanted);
}

TEST(Draws, BelowIsUniform) {
  constexpr int kDraws = 60'000;
  constexpr double kCritical = 20.5;  // chi-square, 5 degrees of freedom, p = 0.001
  std::vector<int> counts(6);
  for (int i = 0; i < kDraws; ++i) ++counts[Rng{11}.at(Stream::kTest, static_cast<std::uint64_t>(i)).below(6)];
  double chi_square = 0;
  for (const int count : counts) chi_square += (count - kDraws / 6.0) * (count - kDraws / 6.0) / (kDraws / 6.0);
  EXPECT_LT(chi_square, kCritical);
}

TEST(Draws, BelowOneIsZeroAndUnitIsBelowOne) {
  Draws draws = Rng{1}.at(Stream::kTest, 0);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(draws.below(1), 0U);
    const double unit = draws.unit();
    EXPECT_TRUE(0 <= unit && unit < 1);
  }
}

class PermutationOf : public testing::TestWithParam<std::uint64_t> {};

TEST_P(PermutationOf, MeetsEveryItemOnceAndInverts) {
  const Permutation order(GetParam(), Rng{3}.at(Stream::kTest, GetParam()));
  std::vector<bool> met(GetParam());
  for (std::uint64_t i = 0; i < GetParam(); ++i) {
    const std::uint64_t item = order(i);
    ASSERT_LT(item, GetParam());
    EXPECT_FALSE(met[item]);
    met[item] = true;
    EXPECT_EQ(order.inverse(item), i);
  }
}
INSTANTIATE_TEST_SUITE_P(Sizes, PermutationOf, testing::Values(0, 1, 2, 3, 4, 5, 17, 64, 1000, 4097));

TEST(Permutation, ComesInEveryOrderEquallyOften) {
  constexpr int kSeeds = 12'000;
  constexpr double kCritical = 49.7;  // chi-square, 23 degrees of freedom, p = 0.001
  std::map<std::vector<std::uint64_t>, int> counts;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const Permutation order(4, Rng{seed}.at(Stream::kTest, 0));
    ++counts[{order(0), order(1), order(2), order(3)}];
  }
  ASSERT_EQ(counts.size(), 24U);
  double chi_square = 0;
  for (const auto& [order, count] : counts) chi_square += (count - 500.0) * (count - 500.0) / 500.0;
  EXPECT_LT(chi_square, kCritical);
}

TEST(Permutation, IsRandomlyAccessibleAtAnySize) {
  const std::uint64_t size = (std::uint64_t{1} << 40) + 12345;
  const Permutation order(size, Rng{5}.at(Stream::kTest, 0));
  for (std::uint64_t i = 0; i < size; i += size / 1000) EXPECT_EQ(order.inverse(order(i)), i);
}

}  // namespace
}  // namespace syco
