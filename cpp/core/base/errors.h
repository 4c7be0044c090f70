// The two errors that users see, and the check that raises the first.
#pragma once

#include <stdexcept>
#include <string>

namespace syco {

// Bad input: a value, row, file or option that cannot be used. Python sees sycophancy_core.DataError (a ValueError).
class DataError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A model that cannot be used: unknown architecture, wrong shape. Python sees sycophancy_core.ModelError (a
// RuntimeError).
class ModelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws DataError(message) unless `condition` holds. Say what, where, wanted, got: "mix: ratio must be > 0, got -1".
inline void require(bool condition, const std::string& message) {
  if (!condition) throw DataError(message);
}

}  // namespace syco
