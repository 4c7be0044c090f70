// The entry point for libFuzzer; SYCO_FUZZ_TARGET is the number of a target of its library.

#include "fuzz/fuzz_targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  syco::fuzz_targets()[SYCO_FUZZ_TARGET].run({bytes, size});
  return 0;
}
