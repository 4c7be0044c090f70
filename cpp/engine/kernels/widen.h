// Numbers of 16 bits as float32, which holds each of them exactly.
#pragma once

#include <cstdint>

namespace syco {

void widen_bfloat16(const std::uint16_t* x, std::int64_t count, float* y);
void widen_float16(const std::uint16_t* x, std::int64_t count, float* y);

}  // namespace syco
