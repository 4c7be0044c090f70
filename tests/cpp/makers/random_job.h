// A job for any of the tiny configs.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/rng.h"
#include "engine/job.h"

namespace syco {

inline constexpr std::int64_t kAlphabet = 90;  // tokens that every config has

// Sequences that share beginnings, enough of them for several panels; the first ends where the others part from it.
struct RandomJob {
  std::vector<std::int32_t> tokens, num_context;
  std::vector<std::int64_t> offsets = {0};

  explicit RandomJob(std::int64_t count) {
    for (std::int64_t s = 0; s < count; ++s) {
      Draws draws = Rng{7}.at(Stream::kTest, s);
      const auto length = static_cast<std::int64_t>(20 + draws.below(60)),
                 own = static_cast<std::int64_t>(draws.below(20));
      for (std::int64_t i = 0; i < length; ++i) {
        tokens.push_back(static_cast<std::int32_t>(i < own ? i % kAlphabet : draws.below(kAlphabet)));
      }
      num_context.push_back(static_cast<std::int32_t>(length - 1 - static_cast<std::int64_t>(draws.below(3))));
      offsets.push_back(std::ssize(tokens));
    }
  }
  Sequences sequences() const { return {tokens, offsets, num_context}; }
};

}  // namespace syco
