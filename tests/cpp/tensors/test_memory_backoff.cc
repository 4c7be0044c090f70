#include <gtest/gtest.h>

#include <vector>

#include "core/base/errors.h"
#include "engine/tensors/memory_backoff.h"

namespace syco {
namespace {

// Runs out of memory above so many rows, as a device does.
struct SmallDevice {
  std::int64_t most_rows;
  std::vector<std::int64_t>& tried;
  std::int64_t operator()(std::int64_t rows) const {
    tried.push_back(rows);
    if (rows > most_rows) C10_THROW_ERROR(OutOfMemoryError, "too many");
    return rows;
  }
};

TEST(MemoryBackoff, HalvesTheRowsUntilTheyFit) {
  std::vector<std::int64_t> tried;
  EXPECT_EQ(run_within_memory(8192, SmallDevice{2500, tried}), 2048);
  EXPECT_EQ(tried, (std::vector<std::int64_t>{8192, 4096, 2048}));
}

TEST(MemoryBackoff, EndsInOneSentenceBelowTheLeastChunk) {
  std::vector<std::int64_t> tried;
  try {
    run_within_memory(1024, SmallDevice{255, tried});
    FAIL() << "nothing was thrown";
  } catch (const ModelError& error) {
    EXPECT_STREQ(error.what(),
                 "engine: the device's memory does not hold the model and 256 tokens; use a smaller dtype, shorter "
                 "prompts or a larger device");
  }
  EXPECT_EQ(tried, (std::vector<std::int64_t>{1024, 512, 256}));
}

TEST(MemoryBackoff, LetsOtherErrorsPass) {
  EXPECT_THROW(run_within_memory(1024, [](std::int64_t) -> std::int64_t { throw DataError("other"); }), DataError);
}

}  // namespace
}  // namespace syco
