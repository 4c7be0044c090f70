// What takes bytes from outside, as functions of bytes: each must give a result or throw DataError or ModelError.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace syco {

using Bytes = std::span<const std::uint8_t>;

struct FuzzTarget {
  const char* name;
  void (*run)(Bytes bytes);
  std::string_view seed;  // a good input to start from
};

// Of the file that a program is linked with: core_targets.cc or engine_targets.cc.
std::span<const FuzzTarget> fuzz_targets();

// Numbers out of bytes; zeros when they run out.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : bytes_(bytes) {}

  std::uint8_t next() {
    if (bytes_.empty()) return 0;
    const std::uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  // In [0, bound), which is at most 256.
  std::int64_t below(std::int64_t bound) { return next() % bound; }

 private:
  Bytes bytes_;
};

}  // namespace syco
