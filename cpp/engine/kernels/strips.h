// The product of a float32 block of a weight with a panel, in vectors that GCC and Clang know on every processor.
//
// The panel is laid in strips: all features of its first columns, then of the next. With AVX-512 a strip is as wide as the
// panel, which then is as it was; elsewhere it has 16 columns, and what it has of some hundred features fits the
// innermost cache, where a part of whole rows would not.
#pragma once

#include <cstdint>

namespace syco::strips {

// Whether strips are as wide as a panel, so that fill() would copy it as it is.
bool are_panels();

// Lays rows [row, row + rows) of a panel (features, 64) into its strips.
void fill(const float* x, std::int64_t row, std::int64_t rows, std::int64_t features, float* panel);

// c (m, 64) = a (m, k) x panel (k, 64): each number is the sum of the sums of 192 terms each, whatever m is: long sums
// lose fewer digits so. A row of `a` begins a_stride floats after the row before it; c is as a panel is before it is
// laid into strips.
void multiply(std::int64_t m, std::int64_t k, const float* a, std::int64_t a_stride, const float* panel, float* c);

// The same, each number summed term by term, so that zeros among its terms change nothing.
void multiply_in_order(std::int64_t m, std::int64_t k, const float* a, std::int64_t a_stride, const float* panel,
                       float* c);

}  // namespace syco::strips
