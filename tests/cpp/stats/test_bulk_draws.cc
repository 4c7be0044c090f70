#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "core/base/rng.h"
#include "core/stats/bulk_draws.h"

namespace syco {
namespace {

// The first words of the published xoshiro256++ from the state 1, 2, 3, 4.
TEST(BulkDraws, AreXoshiroSideBySide) {
  BulkDraws bulk(BulkDraws::State{{{1, 1, 1, 1}, {2, 2, 2, 2}, {3, 3, 3, 3}, {4, 4, 4, 4}}});
  std::vector<std::uint64_t> drawn(24);
  bulk.fill({drawn.data(), 8});
  bulk.fill({drawn.data() + 8, 16});
  const std::vector<std::uint64_t> wanted{
      41943041, 58720359, 3588806011781223, 3591011842654386, 9228616714210784205U, 9973669472204895162U};
  for (std::size_t i = 0; i < drawn.size(); ++i) EXPECT_EQ(drawn[i], wanted[i / 4]) << i;
}

TEST(BulkDraws, StartFromDrawsWordByWord) {
  Draws draws = Rng{4}.at(Stream::kTest, 1);
  BulkDraws::State state;
  for (auto& word : state) {
    for (std::uint64_t& lane : word) lane = draws.next();
  }
  Draws again = Rng{4}.at(Stream::kTest, 1);
  std::array<std::uint64_t, 8> drawn, wanted;
  BulkDraws(again).fill(drawn);
  BulkDraws(state).fill(wanted);
  EXPECT_EQ(drawn, wanted);
  EXPECT_EQ(again.next(), draws.next());
}

}  // namespace
}  // namespace syco
