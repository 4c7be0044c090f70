#include "engine/kernels/strips.h"

#include <algorithm>
#include <cstring>

#include "core/base/clones.h"
#include "engine/kernels/kernels.h"

namespace syco::strips {
namespace {

using Vector [[gnu::vector_size(32)]] = float;

constexpr std::int64_t kLanes = 8;           // of a vector
constexpr std::int64_t kWidth = 2 * kLanes;  // columns of a strip
constexpr std::int64_t kRows = 6;            // with two vectors each: twelve sums, which AVX2's sixteen registers hold
constexpr std::int64_t kDepth = 192;         // features of a strip, 12 KiB, that are summed before any others

SYCO_INLINE inline void load(const float* x, Vector& to) { std::memcpy(&to, x, sizeof to); }

SYCO_INLINE inline void store(const Vector& x, float* to) { std::memcpy(to, &x, sizeof x); }

// Some rows of a part of a product: one strip's columns, `depth` features. But for the first part, c holds the sums of
// those before.
struct Part {
  const float* a;
  std::int64_t a_stride;
  const float* strip;
  std::int64_t depth;
  float* c;
  bool is_first;
};

// In order, sums go on from those in c, term by term; else the part is summed by itself and then added to them.
template <std::int64_t kCount, bool kInOrder>
SYCO_INLINE inline void add_rows(const Part& part) {
  Vector sum[kCount][2], low, high;
#pragma GCC unroll 6
  for (std::int64_t i = 0; i < kCount; ++i) {
    sum[i][0] = sum[i][1] = Vector{};
    if (!kInOrder || part.is_first) continue;
    load(part.c + i * kColumns, sum[i][0]);
    load(part.c + i * kColumns + kLanes, sum[i][1]);
  }
  for (std::int64_t j = 0; j < part.depth; ++j) {
    load(part.strip + j * kWidth, low);
    load(part.strip + j * kWidth + kLanes, high);
#pragma GCC unroll 6
    for (std::int64_t i = 0; i < kCount; ++i) {
      const float factor = part.a[i * part.a_stride + j];
      sum[i][0] += factor * low;
      sum[i][1] += factor * high;
    }
  }
#pragma GCC unroll 6
  for (std::int64_t i = 0; i < kCount; ++i) {
    float* c = part.c + i * kColumns;
    if (!kInOrder && !part.is_first) {
      load(c, low);
      load(c + kLanes, high);
      sum[i][0] += low;
      sum[i][1] += high;
    }
    store(sum[i][0], c);
    store(sum[i][1], c + kLanes);
  }
}

// The first `rows` of them, kRows at most.
template <bool kInOrder>
SYCO_INLINE inline void add_rows(std::int64_t rows, const Part& part) {
  switch (rows) {
    case 1:
      return add_rows<1, kInOrder>(part);
    case 2:
      return add_rows<2, kInOrder>(part);
    case 3:
      return add_rows<3, kInOrder>(part);
    case 4:
      return add_rows<4, kInOrder>(part);
    case 5:
      return add_rows<5, kInOrder>(part);
    default:
      return add_rows<kRows, kInOrder>(part);
  }
}

template <bool kInOrder>
SYCO_INLINE inline void add_parts(std::int64_t m, std::int64_t k, const float* a, std::int64_t a_stride,
                                  const float* panel, float* c) {
  for (std::int64_t first = 0; first < k; first += kDepth) {
    for (std::int64_t n = 0; n < kColumns; n += kWidth) {
      for (std::int64_t i = 0; i < m; i += kRows) {
        add_rows<kInOrder>(m - i, {.a = a + i * a_stride + first,
                                   .a_stride = a_stride,
                                   .strip = panel + n * k + first * kWidth,
                                   .depth = std::min(kDepth, k - first),
                                   .c = c + i * kColumns + n,
                                   .is_first = first == 0});
      }
    }
  }
}

}  // namespace

SYCO_CLONES void fill(const float* x, std::int64_t row, std::int64_t rows, std::int64_t features, float* panel) {
  for (std::int64_t n = 0; n < kColumns; n += kWidth) {
    float* strip = panel + n * features + row * kWidth;
    for (std::int64_t i = 0; i < rows; ++i)
      std::memcpy(strip + i * kWidth, x + i * kColumns + n, kWidth * sizeof(float));
  }
}

SYCO_CLONES void multiply(std::int64_t m, std::int64_t k, const float* a, std::int64_t a_stride, const float* panel,
                          float* c) {
  add_parts<false>(m, k, a, a_stride, panel, c);
}

SYCO_CLONES void multiply_in_order(std::int64_t m, std::int64_t k, const float* a, std::int64_t a_stride,
                                   const float* panel, float* c) {
  add_parts<true>(m, k, a, a_stride, panel, c);
}

}  // namespace syco::strips
