#include <gtest/gtest.h>

#include "core/base/errors.h"

namespace syco {
namespace {

TEST(Require, ThrowsItsMessageUnlessTheConditionHolds) {
  EXPECT_NO_THROW(require(true, "unused"));
  try {
    require(false, "mix: ratio must be > 0, got -1");
    FAIL() << "no error";
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(), "mix: ratio must be > 0, got -1");
  }
}

}  // namespace
}  // namespace syco
