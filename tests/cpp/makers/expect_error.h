// What a call refuses, and in which words.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "core/base/errors.h"

namespace syco {

// Expects that `call` throws a DataError whose text has `part` in it.
template <typename Call>
void expect_error(Call call, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "no error with: " << part;
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

}  // namespace syco
