// What to do where a device's memory does not hold a chunk.
#pragma once

#include <c10/util/Exception.h>

#include <cstdint>
#include <string>

#include "core/base/errors.h"

namespace syco {

inline constexpr std::int64_t kLeastChunkRows = 256;

// Returns run(rows); where that runs out of the device's memory, starts again with half the rows, and so on. Throws
// ModelError where it would have to go below kLeastChunkRows.
template <typename Run>
auto run_within_memory(std::int64_t rows, const Run& run) {
  for (;; rows /= 2) {
    try {
      return run(rows);
    } catch (const c10::OutOfMemoryError&) {
      if (rows / 2 < kLeastChunkRows) {
        throw ModelError("engine: the device's memory does not hold the model and " + std::to_string(rows) +
                         " tokens; use a smaller dtype, shorter prompts or a larger device");
      }
    }
  }
}

}  // namespace syco
