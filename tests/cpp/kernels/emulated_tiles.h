// The products of engine/kernels/tiles_x86.cc on AMX tiles, with AMX's instructions done in plain C++: so they are
// tested on every x86-64 processor.
#pragma once

#include <cstdint>

#include "engine/kernels/tile_layout.h"

namespace syco::tiles::emulated {

// Whether this build has that code at all.
bool is_available();

void begin();
void end();
void multiply(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right, const Counted& counted,
              float* out);

}  // namespace syco::tiles::emulated
